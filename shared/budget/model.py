"""The ledger's values: scopes, requests and what became of them. All amounts in nano-dollars."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from shared.domain.money import MAX_NUSD
from shared.domain.values import made_often

MAX_SCOPES = 5
_NAME = re.compile(r"[A-Za-z0-9_.-]+\Z")
_ATTEMPT = re.compile(r"[0-9a-f]{32}\Z")


class ScopeKind(StrEnum):
    """What a limit is about: a project's calendar window or all its time, a batch, an API key."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"
    BATCH = "batch"
    KEY = "key"


_PERIOD = {
    ScopeKind.DAY: re.compile(r"\d{4}-\d{2}-\d{2}\Z"),
    ScopeKind.MONTH: re.compile(r"\d{4}-\d{2}\Z"),
    ScopeKind.TOTAL: re.compile(r"\Z"),
    ScopeKind.BATCH: re.compile(r"\Z"),
    ScopeKind.KEY: re.compile(r"\Z"),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """One limited purse; `key` is a project id (day, month, total), or a batch's or API key's id.

    Its text, `day:acme:2026-11-21` or `batch:b1`, names it in Redis, so key and period hold no
    separator: other characters than letters, digits, `_`, `.` and `-` raise ValueError.
    """

    kind: ScopeKind
    key: str
    period: str = ""
    text: str = field(init=False, compare=False, repr=False)
    """The scope in one word; `Scope.parse` reads it back."""

    def __post_init__(self) -> None:
        if not _NAME.match(self.key):
            raise ValueError(f"not a key of a scope: {self.key[:60]!r}")
        if not _PERIOD[self.kind].match(self.period):
            raise ValueError(f"not a period of a {self.kind} scope: {self.period[:60]!r}")
        tail = f":{self.period}" if self.period else ""
        object.__setattr__(self, "text", f"{self.kind.value}:{self.key}{tail}")

    @staticmethod
    def parse(text: str) -> "Scope":
        """The scope that `text` names; raises ValueError for any other text."""
        return _parsed(text)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Scope:
    kind, _, rest = text.partition(":")
    key, _, period = rest.partition(":")
    scope = Scope(ScopeKind(kind), key, period)
    if scope.text != text:
        raise ValueError(f"not a scope: {text[:80]!r}")
    return scope


def checked_nusd(amount: int) -> int:
    """The amount itself, if the ledger can count it exactly; otherwise ValueError."""
    if type(amount) is not int or not 0 <= amount <= MAX_NUSD:
        raise ValueError(f"an amount must be a whole number from 0 to {MAX_NUSD} nano-dollars")
    return amount


def checked_attempt(attempt_id: str) -> str:
    """The id itself, if it is 32 hexadecimal digits; otherwise ValueError."""
    if not _ATTEMPT.match(attempt_id):
        raise ValueError("an attempt id must be 32 lower-case hexadecimal digits")
    return attempt_id


@made_often(frozen=True, slots=True)
class ReserveRequest:
    """The worst case of one attempt, wanted from one to five different scopes at once."""

    attempt_id: str
    scopes: tuple[Scope, ...]
    amount_nusd: int

    def __post_init__(self) -> None:
        checked_attempt(self.attempt_id)
        checked_nusd(self.amount_nusd)
        different = len({scope.text for scope in self.scopes})
        if not 1 <= len(self.scopes) <= MAX_SCOPES or different != len(self.scopes):
            raise ValueError(f"a reservation needs 1 to {MAX_SCOPES} different scopes")


@dataclass(frozen=True, slots=True)
class Reserved:
    """Held. Make the intent durable, then `confirm` under this epoch, then send."""

    epoch: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Fits as soon as other reservations on this scope settle below their worst case."""

    scope: Scope


@dataclass(frozen=True, slots=True)
class Exhausted:
    """What is spent leaves too little in this scope: only a higher limit or a new period helps."""

    scope: Scope
    limit_nusd: int
    spent_nusd: int
    reserved_nusd: int


@dataclass(frozen=True, slots=True)
class Impossible:
    """More than the whole limit of this scope. A limit of 0 is a paused purse: Exhausted."""

    scope: Scope
    limit_nusd: int


@dataclass(frozen=True, slots=True)
class Unopened:
    """These scopes have no counters yet: open them from the database, then ask again."""

    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """The counters are lost or doubtful; nothing is admitted until they have been rebuilt."""


ReserveOutcome = Reserved | Wait | Exhausted | Impossible | Unopened | Closed


class Opening(StrEnum):
    """What became of `open`: FENCED means that the figures were read under another epoch."""

    OPENED = "opened"
    ALREADY_OPEN = "already_open"
    FENCED = "fenced"


class Rebuild(StrEnum):
    """What became of `begin_rebuild`: only BEGUN gives the right to open scopes by the token."""

    BEGUN = "begun"
    BUSY = "busy"
    NOT_NEEDED = "open"


@dataclass(frozen=True, slots=True)
class Balance:
    """A scope's counters at one moment; a limit of None is unlimited, and still counted."""

    scope: Scope
    limit_nusd: int | None
    spent_nusd: int
    reserved_nusd: int

    @property
    def remaining_nusd(self) -> int | None:
        """What a new reservation may still take, never below 0; None when unlimited."""
        if self.limit_nusd is None:
            return None
        return max(0, self.limit_nusd - self.spent_nusd - self.reserved_nusd)


@dataclass(frozen=True, slots=True)
class OpenReservation:
    """A reservation as Redis holds it; `since_ms` is Redis's own clock, Unix milliseconds.

    `confirmed`: its intent is durable in the database, and the request may have left.
    """

    attempt_id: str
    amount_nusd: int
    since_ms: int
    confirmed: bool
    scopes: tuple[Scope, ...]
