"""A project's budget: what its windows hold, and changing their limits in the safe order."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import structlog

from shared.budget.ledger import Ledger
from shared.budget.model import Balance, Scope, ScopeKind
from shared.budget.windows import scopes_for
from shared.db.engine import Database
from shared.db.repositories import budgets, holds, projects
from shared.db.repositories.projects import KeyRow
from shared.domain.money import usd_from_nusd
from shared.errors import ConflictError, NotFoundError, UnavailableError

log = structlog.get_logger(__name__)

WINDOWS: Final = budgets.WINDOWS


class Budget:
    """Reads and sets limits. Figures come from the ledger, which knows reservations to the moment,
    and from the database where the ledger has not opened the window.
    """

    def __init__(
        self, database: Database, ledger: Ledger, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock

    def read(self, project_id: str) -> dict[str, Any]:
        """`{project, windows: [{window, period, limit_nusd, spent_nusd, reserved_nusd,
        remaining_nusd}]}`; a limit of null is unlimited.
        """
        scopes = scopes_for(project_id, None, self._clock())
        try:
            balances = self._ledger.balance(scopes)
        except UnavailableError as error:
            log.warning("the budget is read from the database", reason=error.message)
            balances = [None] * len(scopes)
        windows = [
            _window(scope, balance or self._from_database(scope))
            for scope, balance in zip(scopes, balances, strict=True)
        ]
        return {"project": project_id, "windows": windows}

    def set_limits(self, project_id: str, new: Mapping[str, int | None]) -> dict[str, Any]:
        """Set limits by window in nano-dollars (None lifts one); others stay. Returns `read`.

        A lower limit holds in the ledger before it stands in the database, and is set there once
        more after it, for a window opened meanwhile from the old figure; a higher one stands in
        the database first. So no moment admits more than both. Raises UnavailableError when either
        does not answer: setting it again is safe.
        """
        scopes = {s.kind.value: s for s in scopes_for(project_id, None, self._clock())}
        with self._database.reading() as connection:
            old = budgets.limits(connection, project_id)
        for window in (name for name in new if _is_lower(new[name], old[name])):
            self._ledger.set_limit(scopes[window], new[window])
        with self._database.transaction() as connection:
            budgets.set_limits(connection, project_id, dict(new))
        for window, limit in new.items():
            self._ledger.set_limit(scopes[window], limit)
        return self.read(project_id)

    def set_key_limit(self, project_id: str | None, key_id: str, limit_nusd: int) -> KeyRow:
        """Change the spend limit of an API key (with a project, only of that one's), in the same
        order; jobs it held go on by themselves. Raises NotFoundError, ConflictError for a key
        without a spend limit: what it has submitted so far does not draw on one.
        """
        with self._database.reading() as connection:
            key = projects.get_key(connection, key_id)
        if key is None or project_id not in (None, key.project_id):
            raise NotFoundError("there is no such key in this project", code="key_not_found")
        if key.spend_limit_nusd is None:
            raise ConflictError(
                "this key was made without a spend limit: make another one",
                code="key_without_limit",
            )
        scope = Scope(ScopeKind.KEY, key_id)
        if _is_lower(limit_nusd, key.spend_limit_nusd):
            self._ledger.set_limit(scope, limit_nusd)
        with self._database.transaction() as connection:
            budgets.set_key_limit(connection, key_id, limit_nusd)
        self._ledger.set_limit(scope, limit_nusd)
        with self._database.reading() as connection:
            changed = projects.get_key(connection, key_id)
        return changed or key

    def held(self, project_id: str | None) -> list[dict[str, Any]]:
        """The limits of a project (None: of all) that hold jobs now, with how many each holds:
        `{project, kind, of, jobs}`; `of` is the batch or the API key where the limit is one's.
        """
        found: list[dict[str, Any]] = []
        with self._database.reading() as connection:
            for scope in holds.scopes(connection):
                kind, _, rest = scope.partition(":")
                key = rest.partition(":")[0]
                project = holds.project_of_scope(connection, kind, key)
                if project_id in (None, project):
                    of = key if kind in (ScopeKind.BATCH, ScopeKind.KEY) else None
                    jobs = holds.count_held_by(connection, scope)
                    found.append({"project": project, "kind": kind, "of": of, "jobs": jobs})
        return found

    def _from_database(self, scope: Scope) -> Balance:
        with self._database.reading() as connection:
            purse = budgets.window_purse(connection, scope.key, scope.kind.value, scope.period)
        reserved = sum(purse.open_attempts.values())
        return Balance(scope, purse.limit_nusd, purse.spent_nusd, reserved)


def _is_lower(new: int | None, old: int | None) -> bool:
    return new is not None and (old is None or new < old)


def _window(scope: Scope, balance: Balance) -> dict[str, Any]:
    window: dict[str, Any] = {"window": scope.kind.value, "period": scope.period or None}
    for name in ("limit", "spent", "reserved", "remaining"):
        nusd = getattr(balance, f"{name}_nusd")
        window[f"{name}_nusd"] = nusd
        window[f"{name}_usd"] = None if nusd is None else usd_from_nusd(nusd)
    return window
