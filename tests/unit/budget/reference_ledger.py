"""The ledger in plain Python, as slow and obvious as can be: what the scripts must agree with."""

from dataclasses import dataclass

from shared.budget.model import (
    Closed,
    Exhausted,
    Impossible,
    Opening,
    Reserved,
    ReserveOutcome,
    ReserveRequest,
    Scope,
    Unopened,
    Wait,
)


@dataclass
class Purse:
    limit: int | None
    spent: int = 0
    reserved: int = 0


@dataclass
class Hold:
    amount: int
    scopes: list[Scope]
    confirmed: bool = False


class ReferenceLedger:
    def __init__(self) -> None:
        self.lose()

    def lose(self) -> None:
        self.epoch: str | None = None
        self.token: str | None = None
        self.purses: dict[Scope, Purse] = {}
        self.notes: dict[Scope, int | None] = {}
        self.holds: dict[str, Hold] = {}

    def begin(self, token: str) -> None:
        self.lose()
        self.token = token

    def finish(self, epoch: str) -> None:
        self.token, self.epoch = None, epoch

    def open(
        self, name: str, scope: Scope, limit: int | None, spent: int, held: dict[str, int]
    ) -> Opening:
        if name not in (self.epoch, self.token):
            return Opening.FENCED
        if scope in self.purses:
            return Opening.ALREADY_OPEN
        purse = Purse(self.notes.pop(scope, limit), spent)
        self.purses[scope] = purse
        for attempt, amount in held.items():
            hold = self.holds.setdefault(attempt, Hold(amount, [], confirmed=True))
            hold.scopes.append(scope)
            purse.reserved += hold.amount
        return Opening.OPENED

    def reserve(self, request: ReserveRequest) -> ReserveOutcome:
        if self.epoch is None:
            return Closed()
        unopened = tuple(scope for scope in request.scopes if scope not in self.purses)
        if unopened:
            return Unopened(unopened)
        if request.attempt_id in self.holds:
            return Reserved(self.epoch)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        self.holds[request.attempt_id] = Hold(request.amount_nusd, list(request.scopes))
        for scope in request.scopes:
            self.purses[scope].reserved += request.amount_nusd
        return Reserved(self.epoch)

    def _refusal(self, request: ReserveRequest) -> ReserveOutcome | None:
        amount = request.amount_nusd
        found: dict[type, ReserveOutcome] = {}
        for scope in request.scopes:
            purse = self.purses[scope]
            limit = purse.limit
            if limit is None or purse.spent + purse.reserved + amount <= limit:
                continue
            if 0 < limit < amount:
                found.setdefault(Impossible, Impossible(scope, limit))
            elif purse.spent + amount > limit:
                gone = Exhausted(scope, limit, purse.spent, purse.reserved)
                found.setdefault(Exhausted, gone)
            else:
                found.setdefault(Wait, Wait(scope))
        return next((found[k] for k in (Impossible, Exhausted, Wait) if k in found), None)

    def confirm(self, epoch: str, attempt: str) -> bool:
        if epoch != self.epoch or attempt not in self.holds:
            return False
        self.holds[attempt].confirmed = True
        return True

    def settle(self, attempt: str, cost: int) -> bool:
        hold = self.holds.pop(attempt, None)
        for scope in hold.scopes if hold else ():
            self.purses[scope].reserved -= hold.amount if hold else 0
            self.purses[scope].spent += cost
        return hold is not None

    def reclaim(self, attempt: str) -> bool:
        hold = self.holds.get(attempt)
        return hold is not None and not hold.confirmed and self.settle(attempt, 0)

    def set_limit(self, scope: Scope, limit: int | None) -> bool:
        if scope in self.purses:
            self.purses[scope].limit = limit
            return True
        self.notes[scope] = limit
        return False
