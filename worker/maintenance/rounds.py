"""Runs each repairer on its own period, in a thread of its own, while this process leads.

A repairer that fails is logged and tried again; it stops no other. One that looked long and found
nothing rests a hundred times as long as it looked, so that idle repairers cost next to nothing,
however large the tables are. One that names its errands looks every `quiet_s` only while there are
none: one look a second, for all of them, tells which there are and calls whom they concern.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from shared.clock import utc_now
from shared.db.repositories.errands import Errand
from shared.errors import UnavailableError
from worker.figures import MaintenanceFigures

log = structlog.get_logger(__name__)

_REST_FACTOR = 100
_LONGEST_REST_S = 30.0
_FAILURE_PAUSE_S = 1.0
_SHORTEST_PAUSE_S = 0.02
"""However often a repairer is called: calls that come closer together share a look."""


class Repairer(Protocol):
    """One kind of loss, repaired."""

    def run_once(self, now: datetime) -> int:
        """Repair what there is; returns how much that was."""


@dataclass(frozen=True, slots=True)
class Round:
    """A repairer and how often it looks: every `idle_s`, and every `busy_s` while it finds
    something, at least `hurries_from`. One that bounds its own looking needs no rest. `found` is
    called when it found something. errands: without one of these there is nothing for it to do.
    """

    name: str
    repairer: Repairer
    idle_s: float
    busy_s: float
    rests: bool = True
    hurries_from: int = 1
    found: Callable[[], None] | None = None
    errands: frozenset[Errand] = frozenset()
    quiet_s: float = _LONGEST_REST_S


def pause_after(round_: Round, repaired: int, took_s: float) -> float:
    """Seconds until the next look. Pure."""
    if repaired:
        return round_.busy_s if repaired >= round_.hurries_from else round_.idle_s
    rest = min(took_s * _REST_FACTOR, _LONGEST_REST_S) if round_.rests else 0.0
    return max(round_.idle_s, rest)


class Rounds:
    """The threads; `leads` says whether this process may repair now."""

    def __init__(
        self,
        rounds: Sequence[Round],
        leads: Callable[[], bool],
        figures: MaintenanceFigures,
        *,
        clock: Callable[[], datetime] = utc_now,
        look_out: Callable[[], frozenset[Errand]] | None = None,
        look_out_every_s: float = 1.0,
    ) -> None:
        """look_out: tells which errands there are; None: there may be all, always."""
        self._rounds = rounds
        self._look_out = look_out
        self._look_out_every_s = look_out_every_s
        self._errands = frozenset(Errand)
        self._leads = leads
        self._figures = figures
        self._clock = clock
        self._stopped = threading.Event()
        self._called = {round_.name: threading.Event() for round_ in rounds}
        self._threads = [
            threading.Thread(target=self._run, args=(round_,), name=round_.name, daemon=True)
            for round_ in rounds
        ]
        if look_out is not None:
            watching = threading.Thread(target=self._watch, name="look_out", daemon=True)
            self._threads.append(watching)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, within_s: float) -> None:
        """Begin nothing new; what is under way after that time is abandoned, which only rolls
        its transaction back.
        """
        self._stopped.set()
        for round_ in self._rounds:
            self.call(round_.name)
        give_up_at = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))

    def call(self, name: str) -> None:
        """Have this repairer look now instead of when its pause is over."""
        self._called[name].set()

    def _run(self, round_: Round) -> None:
        called = self._called[round_.name]
        while not self._stopped.wait(_SHORTEST_PAUSE_S):
            called.clear()
            pause = self._look(round_) if self._leads() else _FAILURE_PAUSE_S
            if self._leads() and round_.errands and not round_.errands & self._errands:
                pause = max(pause, round_.quiet_s)
            called.wait(pause)

    def _watch(self) -> None:
        while not self._stopped.wait(self._look_out_every_s):
            if self._leads():
                before, self._errands = self._errands, self._what_there_is()
                come = self._errands - before
                for round_ in self._rounds:
                    if round_.errands & come:
                        self.call(round_.name)

    def _what_there_is(self) -> frozenset[Errand]:
        """All, where the database does not tell: each repairer then sees that for itself."""
        try:
            return self._look_out() if self._look_out is not None else frozenset(Errand)
        except UnavailableError:
            return frozenset(Errand)
        except Exception:
            log.exception("the look-out stumbled")
            return frozenset(Errand)

    def _look(self, round_: Round) -> float:
        began = time.monotonic()
        try:
            repaired = round_.repairer.run_once(self._clock())
        except UnavailableError as error:
            log.warning("a repairer waits", repairer=round_.name, reason=error.message)
            self._figures.stumbled(round_.name)
            return max(_FAILURE_PAUSE_S, round_.idle_s)
        except Exception:
            log.exception("a repairer stumbled", repairer=round_.name)
            self._figures.stumbled(round_.name)
            return max(_FAILURE_PAUSE_S, round_.idle_s)
        self._figures.repaired(round_.name, repaired)
        if repaired and round_.found is not None:
            round_.found()
        return pause_after(round_, repaired, time.monotonic() - began)
