"""Opens the ledger's counters from the database: all of them after a loss, one when first needed.

The epoch (or the rebuild's token) is read first, then the database in one snapshot, then the scope
is opened under that epoch: figures that were read before a loss are refused. Blocking; call it in
a thread. Scopes need no opening at a rebuild: whoever meets one that is not open opens it, with
the open intents that weigh on it. Those with open intents are opened at once all the same, so that
what their workers settle meanwhile is counted where it belongs.
"""

import time
from collections.abc import Iterable, Sequence

import structlog

from shared.budget.ledger import Ledger
from shared.budget.model import Opening, Rebuild, Scope, ScopeKind
from shared.db.engine import Connection, Database
from shared.db.repositories import budgets, reconciling
from shared.db.repositories.budgets import Purse
from shared.errors import UnavailableError
from shared.fault_points import FaultPoint, reach
from shared.ids import claim_token

log = structlog.get_logger(__name__)

_WAIT_S = 10.0
_POLL_S = 0.05
_OPENINGS = 5


def purse_of(connection: Connection, scope: Scope) -> Purse:
    """A scope as the database sees it."""
    if scope.kind is ScopeKind.BATCH:
        return budgets.batch_purse(connection, scope.key)
    if scope.kind is ScopeKind.KEY:
        return budgets.key_purse(connection, scope.key)
    return budgets.window_purse(connection, scope.key, scope.kind.value, scope.period)


class LedgerOpener:
    """Thread-safe; any number of processes may try at once."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    def ensure_open(self) -> str:
        """The ledger's epoch, after rebuilding it where it was lost, or waiting for whoever is
        at it. Raises UnavailableError where that takes too long or a part does not answer.
        """
        give_up_at = time.monotonic() + _WAIT_S
        token = claim_token()
        while True:
            epoch = self._ledger.epoch()
            if epoch is not None:
                return epoch
            if self._ledger.begin_rebuild(token) is Rebuild.BEGUN:
                rebuilt = self._rebuild(token)
                if rebuilt is not None:
                    return rebuilt
                token = claim_token()
            if time.monotonic() > give_up_at:
                raise UnavailableError("the budget's counters are being rebuilt")
            time.sleep(_POLL_S)

    def open_scopes(self, scopes: Sequence[Scope]) -> None:
        """Open those of the scopes that are not open.

        Raises UnavailableError where counters are lost again and again meanwhile.
        """
        for _ in range(_OPENINGS):
            if self._open(self.ensure_open(), scopes):
                return
        raise UnavailableError("the budget's counters were lost while they were opened")

    def _rebuild(self, token: str) -> str | None:
        with self._database.reading() as connection:
            pressing = {
                Scope.parse(text) for text in reconciling.scopes_with_open_intents(connection)
            }
        if not self._open(token, pressing):
            return None
        reach(FaultPoint.IN_REBUILD)
        epoch = self._ledger.finish_rebuild(token)
        if epoch is not None:
            log.warning("the budget's counters were rebuilt", scopes=len(pressing))
        return epoch

    def _open(self, epoch: str, scopes: Iterable[Scope]) -> bool:
        """False: the epoch is over, so the figures may be too old."""
        for scope in scopes:
            with self._database.snapshot() as connection:
                purse = purse_of(connection, scope)
            opening = self._ledger.open(
                epoch, scope, purse.limit_nusd, purse.spent_nusd, purse.open_attempts
            )
            if opening is Opening.FENCED:
                return False
        return True
