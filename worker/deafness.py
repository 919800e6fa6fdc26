"""Notices that this worker is alive but consumes nothing, and makes it end so that it is replaced.

After a broker's reconnect a consumer may live on without ever getting a message again. Its process
looks healthy from outside, so it watches itself: chunks wait in its own queues, it has a free
thread, and yet it has taken none for a while. Nothing mends a consumer in such a state, so the
process finishes what it has in hand and ends with an exit code that is not 0; its supervisor
starts a new one.

Horizon: 15 s of silence, noticed within 3 s more.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog

from shared.errors import UnavailableError

log = structlog.get_logger(__name__)

DEAF_AFTER_S: Final = 15.0
LOOK_EVERY_S: Final = 3.0


class Consumption:
    """What this process's threads take from the broker; `threads` of them at once."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._taken = 0
        self._busy = 0

    @contextmanager
    def chunk(self) -> Iterator[None]:
        """Around each task."""
        with self._lock:
            self._taken += 1
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    @property
    def taken(self) -> int:
        """Tasks that were ever begun."""
        return self._taken

    @property
    def has_room(self) -> bool:
        """Whether a thread waits for work."""
        return self._busy < self._threads


class Deafness:
    """Decides from what is seen every few seconds. Knows no clock: `now_s` is any that rises."""

    def __init__(self, after_s: float = DEAF_AFTER_S) -> None:
        self._after_s = after_s
        self._taken = -1
        self._since_s: float | None = None
        self._looked_at_s = 0.0

    def suspects(self, taken: int) -> bool:
        """Whether nothing was taken since the last look, so that it matters what waits."""
        return taken == self._taken

    def look(self, now_s: float, waiting: int | None, taken: int, *, has_room: bool) -> bool:
        """Whether work has waited in vain for long enough. waiting: chunks in this worker's
        queues, None where the broker did not say or was not asked. A long time between two looks
        proves nothing: the whole process was stopped.
        """
        watched = now_s - self._looked_at_s < self._after_s / 2
        in_vain = bool(waiting) and has_room and taken == self._taken
        self._looked_at_s = now_s
        self._taken = taken
        if not in_vain or not watched:
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now_s
        return now_s - self._since_s >= self._after_s


class DeafnessWatch:
    """The thread that looks. `waiting` asks the broker and may raise UnavailableError; `replace`
    is called once, when it is certain.
    """

    def __init__(
        self,
        consumption: Consumption,
        waiting: Callable[[], int],
        replace: Callable[[], None],
        *,
        deafness: Deafness | None = None,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._consumption = consumption
        self._waiting = waiting
        self._replace = replace
        self._deafness = deafness or Deafness()
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deafness watch", daemon=True)

    def start(self) -> None:
        """Begin looking; call it when the worker consumes."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more: the worker consumes nothing because it is leaving."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            if self._is_deaf() and not self._stopped.is_set():
                log.error("this worker consumes nothing though work waits: it ends")
                self._replace()
                return

    def _is_deaf(self) -> bool:
        taken, has_room = self._consumption.taken, self._consumption.has_room
        waiting = None
        # A worker that takes chunks, or is full, is not asked after: the question costs CPU.
        if has_room and self._deafness.suspects(taken):
            with suppress(UnavailableError):
                waiting = self._waiting()
        return self._deafness.look(time.monotonic(), waiting, taken, has_room=has_room)
