"""Leadership by lease: of all processes started for a task, one holder at a time runs it.

The lease is a row of the database, not of Redis, so that losing Redis does not make two leaders
just when the repairs matter. A holder that stops renewing is succeeded when its lease is over.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, or_, update
from sqlalchemy.dialects import postgresql, sqlite

from shared.db.tables import leaderships


def acquire(connection: Connection, name: str, holder: str, now: datetime, lease_s: float) -> bool:
    """Take or renew the leadership; False while another one holds it."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    until = now + timedelta(seconds=lease_s)
    statement = dialect.insert(leaderships).values(name=name, holder=holder, until=until)
    connection.execute(statement.on_conflict_do_nothing(index_elements=["name"]))
    taken = connection.execute(
        update(leaderships)
        .where(
            leaderships.c.name == name,
            or_(leaderships.c.holder == holder, leaderships.c.until < now),
        )
        .values(holder=holder, until=until)
    )
    return taken.rowcount > 0


def resign(connection: Connection, name: str, holder: str) -> None:
    """Give it up so that another one need not wait for the lease to end."""
    connection.execute(
        delete(leaderships).where(leaderships.c.name == name, leaderships.c.holder == holder)
    )
