"""Short words for what the ledger's tests do over and over."""

import uuid

from shared.budget.ledger import Ledger
from shared.budget.model import Opening, Rebuild, ReserveRequest, Scope, ScopeKind

DAY = Scope(ScopeKind.DAY, "acme", "2026-11-21")
TOTAL = Scope(ScopeKind.TOTAL, "acme")
BATCH = Scope(ScopeKind.BATCH, "batch_1")


def new_id() -> str:
    return uuid.uuid4().hex


def request(amount_nusd: int, *scopes: Scope, attempt_id: str | None = None) -> ReserveRequest:
    return ReserveRequest(attempt_id or new_id(), scopes or (DAY,), amount_nusd)


def rebuild(ledger: Ledger) -> str:
    """A new epoch with nothing in it."""
    token = new_id()
    assert ledger.begin_rebuild(token) is Rebuild.BEGUN
    epoch = ledger.finish_rebuild(token)
    assert epoch is not None
    return epoch


def opened(ledger: Ledger, limits: dict[Scope, int | None], *, spent: int = 0) -> str:
    """A new epoch in which each scope is open with its limit, and so much spent."""
    epoch = rebuild(ledger)
    for scope, limit in limits.items():
        assert ledger.open(epoch, scope, limit, spent, {}) is Opening.OPENED
    return epoch


def counters(ledger: Ledger, scope: Scope) -> tuple[int, int]:
    """What is spent and what is reserved."""
    (balance,) = ledger.balance([scope])
    assert balance is not None
    return balance.spent_nusd, balance.reserved_nusd
