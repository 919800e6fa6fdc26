"""The leases of a process's claims: until when each is good, and how the heart renews them.

Rescue is by leases in the database. When nobody renews them any more, the rescuer gives the jobs to
others, and nothing this process writes about them afterwards counts.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import job_claims

_RENEWED_AFTER: Final = 1 / 6
"""Of a lease. With a beat every sixth of it each claim is good for two thirds at any time."""


class Leases:
    """Of one process. Thread-safe."""

    def __init__(
        self, database: Database, lease_s: float, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._length = timedelta(seconds=lease_s)
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: dict[str, datetime] = {}  # of each claim token, until when

    def begin(self, token: str) -> datetime:
        """A lease's end, for a claim about to be made: the heart must know the token before its
        first lease could lapse. Call it inside the transaction, which may have been waited for.
        """
        self._ends[token] = until = self._clock() + self._length
        return until

    def end(self, token: str) -> None:
        """Nothing is left under this claim."""
        with self._lock:
            self._ends.pop(token, None)

    def renew(self) -> None:
        """Renew those that have not just begun; call it every sixth of a lease. Most jobs end
        before; where there is nothing to renew, the database is not asked.
        """
        aged = self._clock() + self._length * (1 - _RENEWED_AFTER)
        tokens = [token for token, end in list(self._ends.items()) if end <= aged]
        if not tokens:
            return
        with self._database.transaction() as connection:
            until = self._clock() + self._length  # however long it took to begin
            job_claims.renew(connection, tokens, until)
        with self._lock:
            self._ends.update({token: until for token in tokens if token in self._ends})
