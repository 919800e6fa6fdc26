"""Each verb as a value: what to send, and how to read the reply. Pure; both edges use these.

Replies are read as bytes or as text, so it does not matter how the client decodes.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.budget.errors import AttemptReused
from shared.budget.model import (
    Balance,
    Closed,
    Exhausted,
    Impossible,
    Opening,
    OpenReservation,
    Rebuild,
    Reserved,
    ReserveOutcome,
    ReserveRequest,
    Scope,
    Unopened,
    Wait,
    checked_attempt,
    checked_nusd,
)
from shared.budget.scripts import Script, script
from shared.errors import ConfigurationError

ReplyT = TypeVar("ReplyT")

UNLIMITED = -1
LIMIT_NOTE_MS = 3_600_000
LINGER_MS = 3_600_000
"""An hour: far longer than anyone takes between reading the database and opening a scope."""


@dataclass(frozen=True, slots=True)
class Call(Generic[ReplyT]):
    """One Lua call."""

    script: Script
    args: tuple[str, ...]
    parse: Callable[[Any], ReplyT]


def reserve(requests: Sequence[ReserveRequest]) -> Call[list[ReserveOutcome | AttemptReused]]:
    """Decide in order. AttemptReused stands among the replies so that it spoils no other."""
    args: list[str] = []
    for request in requests:
        scopes = ",".join([scope.text for scope in request.scopes])
        args += (request.attempt_id, str(request.amount_nusd), scopes)
    return Call(script("reserve"), tuple(args), lambda reply: _outcomes(reply, len(requests)))


def confirm(epoch: str, attempt_ids: Sequence[str]) -> Call[list[bool]]:
    """Still held under this epoch? Marks those that are."""
    return Call(script("confirm"), (epoch, *attempt_ids), _flags)


def settle(settlements: Sequence[tuple[str, int]]) -> Call[list[bool]]:
    """Reservations become costs."""
    args: list[str] = []
    for attempt_id, cost_nusd in settlements:
        args += (attempt_id, str(checked_nusd(cost_nusd)))
    return Call(script("settle"), tuple(args), _flags)


def release(attempt_ids: Sequence[str]) -> Call[list[bool]]:
    """Reservations are given back."""
    return Call(script("release"), ("any", *attempt_ids), _flags)


def reclaim(attempt_ids: Sequence[str]) -> Call[list[bool]]:
    """Reservations are given back, unless they were confirmed."""
    return Call(script("release"), ("held", *attempt_ids), _flags)


def open_scope(
    epoch: str,
    scope: Scope,
    limit_nusd: int | None,
    spent_nusd: int,
    reservations: Mapping[str, int],
) -> Call[Opening]:
    """Create a scope's counters."""
    args = [epoch, scope.text, _limit(limit_nusd), str(checked_nusd(spent_nusd))]
    for attempt_id, amount_nusd in reservations.items():
        args += (checked_attempt(attempt_id), str(checked_nusd(amount_nusd)))
    return Call(script("open"), tuple(args), lambda reply: Opening(_text(reply)))


def set_limit(scope: Scope, limit_nusd: int | None) -> Call[bool]:
    """Change a limit; a note of it stays for an hour where the scope is not open."""
    args = (scope.text, _limit(limit_nusd), str(LIMIT_NOTE_MS))
    return Call(script("set_limit"), args, bool)


def balance(scopes: Sequence[Scope]) -> Call[list[Balance | None]]:
    """The counters of scopes."""
    args = tuple(scope.text for scope in scopes)
    return Call(script("balance"), args, lambda reply: _balances(reply, scopes))


def overdue(cursor: str, older_than_s: float, page: int) -> Call[tuple[str, list[OpenReservation]]]:
    """One page of old reservations, and the cursor of the next; "0" begins and ends."""
    args = (cursor, str(math.ceil(older_than_s * 1000)), str(page))
    return Call(script("overdue"), args, _overdue_page)


def forget(scope: Scope) -> Call[bool]:
    """Let an unused scope lapse."""
    return Call(script("forget"), (scope.text, str(LINGER_MS)), bool)


def correct(seen: Balance, spent_nusd: int) -> Call[bool]:
    """Replace the spent amount of a scope that has not moved."""
    args = (
        seen.scope.text,
        str(seen.spent_nusd),
        str(seen.reserved_nusd),
        str(checked_nusd(spent_nusd)),
    )
    return Call(script("correct"), args, bool)


def epoch() -> Call[str | None]:
    """The valid epoch, if there is one."""
    return Call(script("epoch"), (), lambda reply: _text(reply) or None)


def begin_rebuild(token: str, abandoned_after_s: float) -> Call[Rebuild]:
    """Close and empty the ledger."""
    args = (checked_attempt(token), str(math.ceil(abandoned_after_s * 1000)))
    return Call(script("begin_rebuild"), args, _rebuild)


def finish_rebuild(token: str, new_epoch: str) -> Call[str | None]:
    """Open the ledger under a new epoch."""
    return Call(
        script("finish_rebuild"), (token, new_epoch), lambda reply: new_epoch if reply else None
    )


def _text(reply: bytes | str) -> str:
    return reply.decode() if isinstance(reply, bytes) else reply


def _limit(limit_nusd: int | None) -> str:
    return str(UNLIMITED if limit_nusd is None else checked_nusd(limit_nusd))


def _flags(reply: Iterable[int]) -> list[bool]:
    return [flag == 1 for flag in reply]


def _outcomes(reply: Sequence[Any], wanted: int) -> list[ReserveOutcome | AttemptReused]:
    current = _text(reply[0])
    if not current:
        return [Closed()] * wanted
    reserved = Reserved(current)
    return [reserved if item == 1 else _refusal(item) for item in reply[1:]]


def _refusal(item: Sequence[Any]) -> ReserveOutcome | AttemptReused:
    match [_text(word) for word in item]:
        case ["wait", scope, *_]:
            return Wait(Scope.parse(scope))
        case ["exhausted", scope, limit, spent, reserved]:
            return Exhausted(Scope.parse(scope), int(limit), int(spent), int(reserved))
        case ["impossible", scope, limit, *_]:
            return Impossible(Scope.parse(scope), int(limit))
        case ["unopened", *scopes]:
            return Unopened(tuple(Scope.parse(scope) for scope in scopes))
        case ["reused"]:
            return AttemptReused("the attempt already holds a reservation on other terms")
        case words:
            raise ValueError(f"not a reply of the ledger: {words[:1]}")


def _balances(reply: Sequence[Any], scopes: Sequence[Scope]) -> list[Balance | None]:
    balances: list[Balance | None] = []
    for scope, counters in zip(scopes, reply, strict=True):
        if not counters:
            balances.append(None)
            continue
        limit, spent, reserved = (int(counter) for counter in counters)
        balances.append(Balance(scope, None if limit == UNLIMITED else limit, spent, reserved))
    return balances


def _overdue_page(reply: Sequence[Any]) -> tuple[str, list[OpenReservation]]:
    cursor, *rest = (_text(word) for word in reply)
    return cursor, [_open_reservation(*pair) for pair in zip(rest[::2], rest[1::2], strict=True)]


def _open_reservation(attempt_id: str, record: str) -> OpenReservation:
    amount, since_ms, phase, scopes = record.split("|")
    return OpenReservation(
        attempt_id,
        int(amount),
        int(since_ms),
        phase == "confirmed",
        tuple(Scope.parse(scope) for scope in scopes.split(",")),
    )


def _rebuild(reply: bytes | str) -> Rebuild:
    if _text(reply) == "evicting":
        raise ConfigurationError(
            "this Redis may drop keys when it is full (maxmemory-policy allkeys-*); "
            "the budget ledger needs maxmemory-policy noeviction"
        )
    return Rebuild(_text(reply))
