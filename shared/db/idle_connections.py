"""PostgreSQL's pooled connections: which of them are asked whether they live before they are used.

To ask each time costs every transaction a round trip. A server that stops, restarts or ends a
session closes the connection, and what it says last can be seen at the socket without asking. What
cannot be seen there (an address that moved to another machine, a network that forgot the
connection) is asked for where a connection lay idle for longer than a moment. Within that moment
the first statement fails, and with it the whole pool is thrown away.
"""

import select
import time
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["ask_after_idling"]

_TRUSTED_S: Final = 2.0
"""For how long after its use a connection is taken to live while its socket is silent. Chosen, not
measured: longer than the pauses of a busy process, far shorter than a failover takes."""
_IDLE_SINCE: Final = "pm_idle_since"


def ask_after_idling(engine: Engine) -> None:
    """Let an engine's pool ask a connection only where it idled or its socket has something to
    say; where one is dead, all that are older than this moment are replaced by new ones.
    """
    dialect = engine.dialect

    def on_checkout(connection: Any, entry: ConnectionPoolEntry, _proxy: object) -> None:
        idle_since: float | None = entry.info.get(_IDLE_SINCE)
        if idle_since is None:
            return  # new: it has answered just now
        try:
            if time.monotonic() - idle_since > _TRUSTED_S or _has_news(connection.fileno()):
                dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            if not dialect.is_disconnect(error, connection, None):
                raise
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", _on_checkin)
    event.listen(engine, "checkout", on_checkout)


def _on_checkin(connection: Any, entry: ConnectionPoolEntry) -> None:
    if connection is not None:  # None: it was found dead while it was used
        entry.info[_IDLE_SINCE] = time.monotonic()


def _has_news(socket: int) -> bool:
    # An idle server says nothing but that it ends, or that it was configured anew. `poll`, since
    # `select` knows only the first 1,024 files, and calls of a worker's are files, too.
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))
