"""What the batches of an API key with limits have used, in tokens.

A batch counts on the day it was made: with what it used once it has ended, with its worst case
before, and also where a call was charged whose usage nobody knows.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, exists, func, not_, select, update

from shared.db.tables import attempts, batches
from shared.domain.attempt import AttemptStatus
from shared.domain.batch import TERMINAL
from shared.domain.job import LINE_BITS, MAX_LINES

_TOKENS: Final = (
    attempts.c.input_tokens
    + attempts.c.cached_tokens
    + attempts.c.cache_write_tokens
    + attempts.c.output_tokens
)


@dataclass(frozen=True, slots=True)
class TokenUse:
    """A batch's tokens. `is_final`: nothing of it will use more."""

    batch_id: str
    tokens: int
    is_final: bool


def of_batches(connection: Connection, ids: Collection[str]) -> Sequence[TokenUse]:
    """Those of the batches that are there."""
    return _read(connection, batches.c.id.in_(ids))


def since(connection: Connection, key_id: str, moment: datetime) -> Sequence[TokenUse]:
    """A key's batches made at a moment or later."""
    return _read(connection, batches.c.key_id == key_id, batches.c.created_at >= moment)


def set_counted(connection: Connection, number: int, tokens: int) -> None:
    """What a batch may use at most, known when its lines have been read."""
    connection.execute(
        update(batches).where(batches.c.number == number).values(counted_tokens=tokens)
    )


def _read(connection: Connection, *which: ColumnElement[bool]) -> Sequence[TokenUse]:
    counted = func.coalesce(batches.c.counted_tokens, 0).label("counted")
    has_ended = batches.c.status.in_([status.value for status in TERMINAL])
    going_on = select(batches.c.id, counted).where(*which, not_(has_ended))
    found = [TokenUse(row.id, row.counted, is_final=False) for row in connection.execute(going_on)]
    # Sums over a batch's attempts, so only of those that will never be asked for again.
    first = batches.c.number * (1 << LINE_BITS)
    mine = attempts.c.job_id.between(first, first + MAX_LINES)
    used = select(func.coalesce(func.sum(_TOKENS), 0)).where(mine).scalar_subquery()
    is_unknown = exists().where(mine, attempts.c.status == AttemptStatus.UNCONFIRMED)
    ended = select(batches.c.id, counted, used.label("used"), is_unknown.label("is_unknown")).where(
        *which, has_ended
    )
    for row in connection.execute(ended):
        tokens = int(row.used)
        most = max(tokens, row.counted) if row.is_unknown else tokens
        found.append(TokenUse(row.id, most, is_final=True))
    return found
