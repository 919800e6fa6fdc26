"""Looking back: what was used and what it cost, by day, model, provider, project, purpose and task
type; what was saved, and what could be.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from producer.reporting.hints import Hint, Outcomes, Spent, hints
from shared.db.engine import Database
from shared.db.repositories import analytics
from shared.domain.money import usd_from_nusd
from shared.errors import UsageError

MAX_ROWS: Final = 10_000
"""Groups in one answer: a year of days of a dozen models, and some."""

_LOOK_BACK: Final = timedelta(days=29)
_OUTCOMES: Final = ("jobs", "completed", "climbed", "rescued", "cached")


@dataclass(frozen=True, slots=True)
class Period:
    """Days in UTC, both included."""

    first: str
    last: str

    @classmethod
    def read(cls, first: str | None, last: str | None, now: datetime) -> "Period":
        """Of two dates as YYYY-MM-DD; by default the 30 days until today. Raises UsageError."""
        until = _day(last, "to") or now.date()
        since = _day(first, "from") or until - _LOOK_BACK
        if since > until:
            raise UsageError("`from` lies after `to`", code="invalid_value", param="from")
        return cls(since.isoformat(), until.isoformat())


def _day(given: str | None, param: str) -> date | None:
    if given is None:
        return None
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise UsageError(
            f"`{param}` must be a date such as 2026-11-21", code="invalid_value", param=param
        ) from None


class Analytics:
    """Reads only; `project_id` None means all projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def usage(
        self, project_id: str | None, period: Period, dimensions: Sequence[str]
    ) -> list[dict[str, Any]]:
        """One object a group: the dimensions, then the sums. Raises UsageError for an unknown
        dimension.
        """
        _check_known(dimensions, analytics.DIMENSIONS)
        rows = self._sums(analytics.used, project_id, period, dimensions)
        return [_used(row, dimensions) for row in rows]

    def savings(
        self, project_id: str | None, period: Period, dimensions: Sequence[str]
    ) -> list[dict[str, Any]]:
        """One object a group: what became of jobs, what they cost, and what the strongest model
        alone would have cost. Raises UsageError for an unknown dimension.
        """
        _check_known(dimensions, analytics.OUTCOME_DIMENSIONS)
        rows = self._sums(analytics.outcomes, project_id, period, dimensions)
        return [_saved(row, dimensions) for row in rows]

    def hints(self, project_id: str | None, period: Period) -> list[dict[str, Any]]:
        """What could be paid less for, the largest sum first."""
        outcomes = [
            Outcomes(**{name: row[name] for name in Outcomes.__dataclass_fields__})
            for row in self.savings(project_id, period, ("project", "task_type", "tier"))
        ]
        spent = [
            Spent(**{name: row[name] for name in Spent.__dataclass_fields__})
            for row in self.usage(project_id, period, ("project", "provider"))
        ]
        return [_hint(hint) for hint in hints(outcomes, spent)]

    def stats(self, project_id: str | None, period: Period) -> dict[str, Any]:
        """Everything in a few figures: batches and jobs of all time, the period's usage."""
        (used,) = self.usage(project_id, period, ())
        with self._database.reading() as connection:
            totals = analytics.batch_totals(connection, project_id)
        return {
            "object": "stats",
            "project": project_id,
            "batches": totals.batches,
            "jobs": {
                "total": int(totals.total),
                "completed": int(totals.completed),
                "failed": int(totals.failed),
                "cancelled": int(totals.cancelled),
                "expired": int(totals.expired),
            },
            "from": period.first,
            "to": period.last,
            "usage": used,
        }

    def _sums(
        self,
        read: Callable[..., Sequence[Any]],
        project_id: str | None,
        period: Period,
        dimensions: Sequence[str],
    ) -> Sequence[Any]:
        with self._database.reading() as connection:
            return read(
                connection,
                dimensions,
                project_id=project_id,
                first_day=period.first,
                last_day=period.last,
                limit=MAX_ROWS,
            )


def _used(row: Any, dimensions: Sequence[str]) -> dict[str, Any]:
    answered = int(row.attempts) - int(row.without_answer)
    return {
        **{name: getattr(row, name) for name in dimensions},
        "attempts": int(row.attempts),
        "answered": answered,
        **_money("cost", int(row.cost_nusd)),
        **_money("unconfirmed", int(row.unconfirmed_nusd)),
        "input_tokens": int(row.input_tokens),
        "cached_tokens": int(row.cached_tokens),
        "output_tokens": int(row.output_tokens),
        "reasoning_tokens": int(row.reasoning_tokens),
    }


def _check_known(dimensions: Sequence[str], known: Sequence[str]) -> None:
    for name in dimensions:
        if name not in known:
            raise UsageError(
                f"there is no grouping by {name[:40]!r}; there is: {', '.join(known)}",
                code="invalid_value",
                param="group_by",
            )


def _saved(row: Any, dimensions: Sequence[str]) -> dict[str, Any]:
    cost, strongest = int(row.cost_nusd), int(row.strongest_nusd)
    return {
        **{name: getattr(row, name) for name in dimensions},
        **{name: int(getattr(row, name)) for name in _OUTCOMES},
        **_money("cost", cost),
        **_money("always_strongest", strongest),
        **_money("saved", strongest - cost),
        **_money("repeated_saved", int(row.saved_nusd)),
    }


def _hint(hint: Hint) -> dict[str, Any]:
    return {
        "code": hint.code,
        "project": hint.project,
        "task_type": hint.task_type or None,
        "provider": hint.provider or None,
        "jobs": hint.jobs,
        **_money("saves", hint.saves_nusd),
        "message": hint.message,
    }


def _money(name: str, nusd: int) -> dict[str, Any]:
    return {f"{name}_nusd": nusd, f"{name}_usd": usd_from_nusd(nusd)}
