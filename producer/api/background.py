"""What an API process does besides answering: it reads files into batches and clears old ones away.

Threads, because both wait for disks and databases. Every verb they call may be called by any number
of processes at once; a process that is told to stop hands back what it is reading.
"""

import threading
from collections.abc import Callable
from typing import Final

import structlog

from producer.bootstrap import ProducerContext
from shared.errors import UnavailableError

log = structlog.get_logger(__name__)

READERS: Final = 2  # so that a small file need not wait for a large one
_LOOK_EVERY_S: Final = 1.0
_CLEAR_EVERY_S: Final = 60.0
_SWEEP_EVERY: Final = 60  # clearings
_AFTER_TROUBLE_S: Final = 5.0
_PATIENCE_S: Final = 10.0


class Background:
    """The threads; `wake` lets the readers look at once."""

    def __init__(self, context: ProducerContext) -> None:
        self._context = context
        self._stop = threading.Event()
        self._work = threading.Semaphore(0)
        self._clearings = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin. Daemons: a storage that hangs must not keep the process from ending."""
        rounds = [self._read] * READERS + [self._clear]
        for index, round_ in enumerate(rounds):
            name = f"{round_.__name__.strip('_')}-{index}"
            thread = threading.Thread(target=self._repeat, args=(round_,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def wake(self) -> None:
        """There is a file to be read."""
        self._work.release()

    def stop(self) -> None:
        """Hand back what is being read; returns when that is done."""
        self._stop.set()
        for _ in self._threads:
            self._work.release()
        for thread in self._threads:
            thread.join(timeout=_PATIENCE_S)

    def _repeat(self, round_: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                round_()
            except UnavailableError as error:
                log.warning("work in the background waits", reason=error.message)
                self._stop.wait(_AFTER_TROUBLE_S)
            except Exception:  # the thread must outlive what it was not made for
                log.exception("work in the background failed")
                self._stop.wait(_AFTER_TROUBLE_S)

    def _read(self) -> None:
        if not self._context.file_intake.run_once(self._stop):
            self._work.acquire(timeout=_LOOK_EVERY_S)

    def _clear(self) -> None:
        now = self._context.clock()
        self._context.files.clear(now)
        if self._clearings % _SWEEP_EVERY == 0:
            self._context.files.sweep(now)
        self._clearings += 1
        self._stop.wait(_CLEAR_EVERY_S)
