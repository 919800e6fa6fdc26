"""The database's own clock, to be compared with this machine's."""

from datetime import UTC, datetime

from sqlalchemy import text

from shared.db.engine import Database


def server_time(database: Database) -> datetime:
    """The present moment as the database's machine sees it, aware and in UTC.

    SQLite has this machine's clock. Raises UnavailableError.
    """
    question = (
        "SELECT strftime('%s', 'now') + 0.0"
        if database.is_sqlite
        else "SELECT extract(epoch FROM clock_timestamp())"
    )
    with database.reading() as connection:
        return datetime.fromtimestamp(float(connection.execute(text(question)).scalar_one()), UTC)
