"""The one clock: every time in the system is an aware UTC datetime that comes from here."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present moment, aware and in UTC."""
    return datetime.now(UTC)


def unix_seconds(moment: datetime | None) -> int | None:
    """Whole Unix seconds of a moment, as OpenAI's objects write times; None stays None."""
    return None if moment is None else int(moment.timestamp())


def unix_nanoseconds(moment: datetime) -> int:
    """A moment as spans tell it; exact to the microsecond."""
    return round(moment.timestamp() * 1_000_000) * 1000
