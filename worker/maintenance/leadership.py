"""Of all maintenance processes in the cluster one leads; the others stand by.

Horizon: when the leader dies, another one leads within a lease (10 s) and 3 s. A leader that cannot
renew stops leading by its own clock before its lease is over.
"""

import time
from datetime import datetime

import structlog

from shared.db.engine import Database
from shared.db.repositories import leaderships
from shared.errors import UnavailableError

log = structlog.get_logger(__name__)

LEASE_S = 10.0
RENEW_EVERY_S = 3.0
_NAME = "maintenance"


class Leadership:
    """`holder` names this process in the cluster."""

    def __init__(self, database: Database, holder: str, *, lease_s: float = LEASE_S) -> None:
        self._database = database
        self._holder = holder
        self._lease_s = lease_s
        self._leads_until = 0.0

    @property
    def leads(self) -> bool:
        """Whether this process may repair now."""
        return time.monotonic() < self._leads_until

    def seek(self, now: datetime) -> bool:
        """Take the leadership, or renew it; call at least every `RENEW_EVERY_S`."""
        asked_at = time.monotonic()
        led = self.leads
        try:
            with self._database.transaction() as connection:
                held = leaderships.acquire(connection, _NAME, self._holder, now, self._lease_s)
        except UnavailableError as error:
            log.warning("the leadership could not be renewed", reason=error.message)
            return self.leads
        # Counted from before the question, and a little short: clocks differ.
        self._leads_until = asked_at + self._lease_s * 0.8 if held else 0.0
        if held != led:
            log.info("leads" if held else "stands by", holder=self._holder)
        return held

    def resign(self) -> None:
        """Let another one lead at once."""
        self._leads_until = 0.0
        try:
            with self._database.transaction() as connection:
                leaderships.resign(connection, _NAME, self._holder)
        except UnavailableError as error:
            log.warning("the leadership ends by itself", reason=error.message)
