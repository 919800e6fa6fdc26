"""How figures and moments are shown to people. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from shared.domain.money import NUSD_PER_USD, usd_from_nusd

NOTHING: Final = "\u2013"
"""A dash where there is no figure."""
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_CENTS_FROM: Final = 10 * NUSD_PER_USD
_DIGITS: Final = 4
_PERCENT: Final = 100

Cell = Mapping[str, Any]
"""A cell of a table: `text`, and of `title` (the exact figure), `href`, `badge`, `sub`, `share`
what applies.
"""


def money(nusd: int | None) -> str:
    """Dollars as people read them: cents from ten dollars on, four digits that count below."""
    if nusd is None:
        return NOTHING
    if nusd == 0:
        return "$0"
    sign = "-" if nusd < 0 else ""
    amount = Decimal(abs(nusd)) / NUSD_PER_USD
    places = 2 if abs(nusd) >= _CENTS_FROM else min(9, max(2, _DIGITS - amount.adjusted() - 1))
    rounded = amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    shown = f"{rounded:,f}"
    cents = shown.find(".") + 3
    return f"{sign}${shown[:cents]}{shown[cents:].rstrip('0')}"


def exactly(nusd: int | None) -> str:
    """The amount to the nano-dollar."""
    return "no limit" if nusd is None else f"{usd_from_nusd(nusd)} USD"


def money_cell(nusd: int | None) -> Cell:
    """A readable amount that tells the exact one when it is pointed at."""
    return {"text": money(nusd), "title": exactly(nusd), "nusd": nusd}


def tokens_cell(row: Mapping[str, Any]) -> Cell:
    """Of a row of sums: what went in, below it what came out."""
    return {
        "text": f"{number(row['input_tokens'])} in",
        "sub": f"{number(row['output_tokens'])} out",
    }


def number(value: float | None) -> str:
    """With its thousands apart."""
    return NOTHING if value is None else f"{value:,}"


def percent(part: float, whole: float) -> str:
    """A share of a whole; nothing of nothing is nothing to tell."""
    return NOTHING if not whole else f"{_PERCENT * part / whole:.1f} %"


def span(seconds: float | None) -> str:
    """How long something takes, in the two units that matter."""
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def moment(when: float | str | None, zone: ZoneInfo) -> str:
    """A moment (Unix seconds, or ISO) on the reader's clock."""
    read = _read(when)
    return NOTHING if read is None else f"{read.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def clock(when: float | str | None, zone: ZoneInfo) -> str:
    """The same without the day."""
    read = _read(when)
    return NOTHING if read is None else f"{read.astimezone(zone):%H:%M:%S}"


def moment_cell(when: float | str | None, zone: ZoneInfo) -> Cell:
    """A moment for a table: the time, the day below it."""
    read = _read(when)
    if read is None:
        return {"text": NOTHING}
    here = read.astimezone(zone)
    return {"text": f"{here:%H:%M:%S}", "sub": f"{here:%Y-%m-%d}", "title": here.isoformat(" ")}


def _read(when: float | str | None) -> datetime | None:
    if when is None:
        return None
    if isinstance(when, str):
        return datetime.fromisoformat(when)
    return datetime.fromtimestamp(when, UTC)


def cut(text: str | None, longest: int) -> str:
    """The beginning of a text, on one line."""
    one = " ".join((text or "").split())
    return one if len(one) <= longest else one[: longest - 1] + "…"


@dataclass(frozen=True, slots=True)
class Outlook:
    """When a batch that runs will have ended, at the pace it has; None where that cannot be told.
    is_held: because all that is left of it waits for money.
    """

    left_s: float | None
    is_held: bool = False

    @property
    def left(self) -> str:
        """How long it will take, in words."""
        return "waits for money" if self.is_held else span(self.left_s)


def outlook(batch: Mapping[str, Any], now: float) -> Outlook:
    """Of a batch object at a moment."""
    own = batch["promptmill"]
    counts = own["counts"]
    asked = counts["completed"] + counts["failed"] - own["rejected"]
    left = counts["queued"] + counts["running"] + counts["held"]
    began = batch["in_progress_at"]
    is_held = left > 0 and left == counts["held"]
    if asked <= 0 or began is None or not left or is_held:
        return Outlook(None, is_held)
    pace = asked / max(1.0, now - began)
    return Outlook(left / pace)
