"""Since when the database has taken writes without a gap, as far as this process can tell.

Whoever takes silence for death (a lease that nobody renewed, an upload that does not grow) must
know that it was not the database that kept the living silent. It is asked regularly by a write,
whoever leads, and what counts is the time between two answers: an outage, one lock held for long, a
process or a machine that stood still and a clock that was moved all look the same, and are a gap.
Before its first answer a process knows nothing.
"""

from datetime import datetime, timedelta


class Uptime:
    """One a process; thread-safe. longest_gap: between two answers that follow each other."""

    def __init__(self, longest_gap: timedelta) -> None:
        self._longest_gap = longest_gap
        self._known: tuple[datetime, datetime] | None = None  # the first answer and the last one

    def answered(self, now: datetime) -> None:
        """A write was just committed."""
        since = self.since(now)
        self._known = (now if since is None else since, now)

    def since(self, now: datetime) -> datetime | None:
        """Since when there was no gap; None where there may be one now."""
        if self._known is None:
            return None
        since, last = self._known
        return since if abs(now - last) <= self._longest_gap else None
