"""Room for claims: Celery's threads wait here until the process may take more jobs.

The next chunk is claimed as soon as the jobs in hand fall to about the number of call slots,
whichever chunks they belong to: a chunk that waits for its slowest job keeps its thread and nothing
else, and leases are held only for work about to begin. One job may ask for the process to itself.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from worker.call_slots import CallSlots


class ClaimRoom:
    """One a process; safe in all threads, and `close` in a signal handler."""

    def __init__(self, slots: CallSlots) -> None:
        self._slots = slots
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._quiet = threading.Condition(self._lock)
        self._alone = threading.Lock()
        self._wants_to_be_alone = False
        self._unfinished = 0
        self._chunks = 0
        self._closed = threading.Event()
        slots.when_claimable(self._look)

    @property
    def is_closed(self) -> bool:
        """Whether nothing new is let in any more."""
        return self._closed.is_set()

    @property
    def unfinished(self) -> int:
        """Jobs for which room is taken."""
        return self._unfinished

    def enter(self, wanted: int) -> bool:
        """Wait for room, and take it for a chunk of so many jobs: `leave` gives it back for each,
        `end_chunk` for the chunk. False where the room is closed.
        """
        with self._room:
            while not self.is_closed and (
                self._unfinished >= self._slots.to_claim or self._wants_to_be_alone
            ):
                self._room.wait()
            if self.is_closed:
                return False
            self._chunks += 1
            self._unfinished += wanted
            if self._unfinished < self._slots.to_claim:
                self._room.notify()
            return True

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Around one job that has the whole room: nobody else is let in, and it waits until all
        others have left. False where the room is closed meanwhile. `leave` gives its place back.
        """
        with self._alone:
            try:
                entered = self._enter_alone()
                try:
                    yield entered
                finally:
                    if entered:
                        self.end_chunk()
            finally:
                self._wants_to_be_alone = False
                with self._room:
                    self._room.notify_all()

    def leave(self, count: int) -> None:
        """So many jobs ended. One waiting thread is woken; what it takes wakes the next."""
        with self._lock:
            self._unfinished -= count
            if self._unfinished < self._slots.to_claim:
                self._room.notify()
            if not self._unfinished:
                self._quiet.notify_all()

    def end_chunk(self) -> None:
        """A chunk is done."""
        with self._lock:
            self._chunks -= 1
            self._quiet.notify_all()

    def close(self) -> None:
        """Let nothing new in. Who waits notices at `wake`: this may have interrupted a thread that
        holds the lock.
        """
        self._closed.set()

    def wake(self) -> None:
        """Have all who wait look again."""
        with self._lock:
            self._room.notify_all()
            self._quiet.notify_all()

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Whether all chunks ended within that time."""
        with self._quiet:
            return self._quiet.wait_for(lambda: not self._chunks, timeout_s)

    def _enter_alone(self) -> bool:
        with self._quiet:
            self._wants_to_be_alone = True
            while self._unfinished and not self.is_closed:
                self._quiet.wait()
            if self.is_closed:
                return False
            self._chunks += 1
            self._unfinished += 1
            return True

    def _look(self) -> None:
        with self._lock:
            if self._unfinished < self._slots.to_claim:
                self._room.notify()
