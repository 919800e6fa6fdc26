"""Announces once each that 50, 80 and 100 % of a limit are spent, and that jobs are held for it.

What was announced is remembered with the limit, in the transaction that writes the event: a raised
limit has its own thresholds, and a crash announces nothing twice and nothing never. Spent is what
the cost rows say, not what is reserved.

Horizon: 2 s; 10 s for a limit that is lowered while nothing runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shared.budget.model import Scope, ScopeKind
from shared.budget.windows import periods
from shared.db.engine import Connection, Database
from shared.db.repositories import budgets, holds, outbox
from worker.ledger_opening import purse_of

THRESHOLDS = (50, 80, 100)
_EXHAUSTED = 1000
"""Stands for `budget.exhausted` where thresholds are remembered as percentages."""


@dataclass(frozen=True, slots=True)
class _News:
    scope: Scope
    project_id: str
    percent: int
    limit_nusd: int
    spent_nusd: int
    held_jobs: int | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        return self.scope.text, self.percent, self.limit_nusd

    @property
    def event_type(self) -> str:
        return "budget.exhausted" if self.percent == _EXHAUSTED else "budget.threshold"

    def data(self) -> dict[str, Any]:
        """The event's data, as `shared.webhooks.events.BudgetSubject` has it."""
        facts: dict[str, Any] = {
            "id": self.scope.text,
            "project": self.project_id,
            "window": self.scope.kind.value,
            "period": self.scope.period,
            "limit_nusd": self.limit_nusd,
            "spent_nusd": self.spent_nusd,
        }
        if self.percent == _EXHAUSTED:
            return facts | {"held_jobs": self.held_jobs}
        return facts | {"percent": self.percent}


class BudgetAnnouncer:
    """Needs nothing but the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_once(self, now: datetime) -> int:
        """Returns how many announcements were made."""
        with self._database.snapshot() as connection:
            news = [*_thresholds(connection, now), *_exhausted(connection)]
            known = budgets.announced(connection, sorted({item.scope.text for item in news}))
            fresh = [_counted(connection, item) for item in news if item.key not in known]
        if not fresh:
            return 0
        announced = 0
        with self._database.transaction() as connection:
            for item in fresh:
                if budgets.announce_once(connection, *item.key, now):
                    outbox.add(connection, item.project_id, item.event_type, item.data(), now)
                    announced += 1
        return announced


def _thresholds(connection: Connection, now: datetime) -> Iterator[_News]:
    day, month = periods(now)
    for row in holds.limited_windows(connection, day, month):
        scope = Scope(ScopeKind(row.kind), row.project_id, row.period)
        for percent in THRESHOLDS:
            # Without division: the figures are whole and may be large.
            if row.spent_nusd * 100 >= row.limit_nusd * percent:
                yield _News(scope, row.project_id, percent, row.limit_nusd, row.spent_nusd)


def _exhausted(connection: Connection) -> Iterator[_News]:
    for text in holds.scopes(connection):
        scope = Scope.parse(text)
        project_id = holds.project_of_scope(connection, scope.kind.value, scope.key)
        purse = purse_of(connection, scope)
        if project_id is not None and purse.limit_nusd is not None:
            yield _News(scope, project_id, _EXHAUSTED, purse.limit_nusd, purse.spent_nusd)


def _counted(connection: Connection, item: _News) -> _News:
    """With the held jobs counted, which takes long where they are many: only for what is new."""
    if item.percent != _EXHAUSTED:
        return item
    return replace(item, held_jobs=holds.count_held_by(connection, item.scope.text))
