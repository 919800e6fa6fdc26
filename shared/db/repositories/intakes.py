"""Stored files that are to be read into their batches, one process at a time under a lease.

A process that dies while it reads loses nothing: when its lease is over another one goes on after
the last line that is in. What the first one may still want to write finds another token.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, or_, select, update

from shared.db.tables import file_intakes

IntakeRow = Row[Any]

_I = file_intakes.c


def add(connection: Connection, number: int, file_id: str, options: Mapping[str, Any]) -> None:
    """The batch's lines are to be read from this file."""
    connection.execute(
        insert(file_intakes),
        {"batch_number": number, "file_id": file_id, "options": dict(options)},
    )


def any_due(connection: Connection, now: datetime) -> bool:
    """Whether there is a file that nobody reads."""
    return connection.execute(select(_I.batch_number).where(_due(now)).limit(1)).first() is not None


def claim(connection: Connection, token: str, now: datetime, until: datetime) -> IntakeRow | None:
    """Take the oldest one that nobody reads, if any."""
    query = (
        select(file_intakes)
        .where(_due(now))
        .order_by(_I.batch_number)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).one_or_none()
    if row is not None:
        connection.execute(
            update(file_intakes)
            .where(_I.batch_number == row.batch_number)
            .values(claim_token=token, lease_until=until)
        )
    return row


def renew(connection: Connection, number: int, token: str, until: datetime) -> bool:
    """Hold it for longer; False where the claim is lost."""
    return bool(
        connection.execute(
            update(file_intakes)
            .where(_I.batch_number == number, _I.claim_token == token)
            .values(lease_until=until)
        ).rowcount
    )


def hand_back(connection: Connection, number: int, token: str, due: datetime | None) -> None:
    """Let another one go on, not before `due` (None: at once)."""
    connection.execute(
        update(file_intakes)
        .where(_I.batch_number == number, _I.claim_token == token)
        .values(claim_token=None, lease_until=due)
    )


def finish(connection: Connection, number: int) -> None:
    """Nothing is left to be read."""
    connection.execute(delete(file_intakes).where(_I.batch_number == number))


def _due(now: datetime) -> ColumnElement[bool]:
    return or_(_I.lease_until.is_(None), _I.lease_until <= now)
