"""Which scopes an attempt draws on at a given moment: calendar periods in UTC. Pure."""

from datetime import UTC, datetime
from functools import lru_cache

from shared.budget.model import Scope, ScopeKind


def periods(now: datetime) -> tuple[str, str]:
    """The day and the month of an aware moment, in UTC: ("2026-11-21", "2026-11")."""
    if now.tzinfo is None:
        raise ValueError("a moment without a time zone belongs to no day")
    day = (now if now.tzinfo is UTC else now.astimezone(UTC)).date().isoformat()
    return day, day[:7]


def scopes_for(
    project_id: str, batch_id: str | None, now: datetime, key_id: str | None = None
) -> tuple[Scope, ...]:
    """Day, month and total of the project, the batch's cap where there is a batch, and the spend
    limit of the API key where it has one.

    An attempt keeps the scopes of the moment it was reserved in, also when it settles after
    midnight.
    """
    return _scopes(project_id, batch_id, key_id, *periods(now))


@lru_cache(maxsize=1024)
def _scopes(
    project_id: str, batch_id: str | None, key_id: str | None, day: str, month: str
) -> tuple[Scope, ...]:
    windows: tuple[Scope, ...] = (
        Scope(ScopeKind.DAY, project_id, day),
        Scope(ScopeKind.MONTH, project_id, month),
        Scope(ScopeKind.TOTAL, project_id),
    )
    if batch_id is not None:
        windows = (*windows, Scope(ScopeKind.BATCH, batch_id))
    return windows if key_id is None else (*windows, Scope(ScopeKind.KEY, key_id))
