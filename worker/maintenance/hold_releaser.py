"""Gives held jobs back to the queue as soon as their purse has room for them again.

Room comes from a raised limit, a new day or month, or calls that cost less than their worst case.
Jobs go in input order, only as many as the room carries; what was released and not yet taken by a
worker counts against the room, so nothing is released only to be held again.

Horizon: 1 s after there is room; at most 2,000 jobs a scope and run.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog

from shared.budget.errors import LedgerUnavailable
from shared.budget.ledger import Ledger
from shared.budget.model import Scope, ScopeKind
from shared.budget.windows import periods
from shared.db.engine import Database
from shared.db.repositories import holds, jobs
from worker.ledger_opening import purse_of

log = structlog.get_logger(__name__)

_AT_ONCE = 2000


class HoldReleaser:
    """Remembers in memory only what it released lately; forgetting that costs a second hold."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._released: dict[str, dict[int, int]] = {}

    def run_once(self, now: datetime) -> int:
        """Release what fits; returns how many jobs."""
        with self._database.reading() as connection:
            held = holds.scopes(connection)
        for scope in self._released.keys() - set(held):
            del self._released[scope]
        return sum(self._release(scope, now) for scope in held)

    def _release(self, text: str, now: datetime) -> int:
        remaining = self._room(Scope.parse(text), now)
        if remaining is not None:
            remaining -= self._on_their_way(text)
            if remaining <= 0:
                return 0
        with self._database.transaction() as connection:
            chosen = fitting(holds.held_by(connection, text, _AT_ONCE), remaining)
            released = jobs.release(connection, list(chosen)) if chosen else 0
        if chosen:
            self._released.setdefault(text, {}).update(chosen)
            log.info("held jobs go on", scope=text, jobs=released)
        return released

    def _room(self, scope: Scope, now: datetime) -> int | None:
        """What the scope can still carry; None where nothing limits it (any more)."""
        day, month = periods(now)
        if scope.kind is ScopeKind.DAY and scope.period < day:
            return None
        if scope.kind is ScopeKind.MONTH and scope.period < month:
            return None
        try:
            (balance,) = self._ledger.balance([scope])
        except LedgerUnavailable:
            return 0  # nothing is admitted either until the ledger answers
        if balance is not None:
            return balance.remaining_nusd
        with self._database.snapshot() as connection:
            purse = purse_of(connection, scope)
        if purse.limit_nusd is None:
            return None
        return purse.limit_nusd - purse.spent_nusd - sum(purse.open_attempts.values())

    def _on_their_way(self, text: str) -> int:
        """The needs of jobs that were released and that no worker has taken yet."""
        lately = self._released.get(text)
        if not lately:
            return 0
        with self._database.reading() as connection:
            queued = holds.still_queued(connection, lately)
        self._released[text] = {job: need for job, need in lately.items() if job in queued}
        return sum(self._released[text].values())


def fitting(held: Sequence[Any], remaining_nusd: int | None) -> dict[int, int]:
    """The jobs, in their order, whose needs fit in together; all where nothing limits. One that is
    too large for the room is passed over: it could not run either way.
    """
    chosen: dict[int, int] = {}
    total = 0
    for row in held:
        need = row.need_nusd or 0
        if remaining_nusd is not None and total + need > remaining_nusd:
            continue
        total += need
        chosen[row.id] = need
    return chosen
