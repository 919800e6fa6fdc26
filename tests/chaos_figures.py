"""What the figures of a chaos run are made of, and whether anybody overdraws anything meanwhile."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from tests.crash.invariants import Figures
from tests.crash.plant import Plant


@dataclass(frozen=True)
class Breakdown:
    """`failed`: jobs by what their error says. `unconfirmed*`: by why nobody knows the price.
    `billed_of_unconfirmed_nusd`: what of it the provider has in fact put on its bill.
    """

    failed: Mapping[str, int]
    unconfirmed: Mapping[str, int]
    unconfirmed_nusd: Mapping[str, int]
    billed_of_unconfirmed_nusd: int

    def lines(self) -> Sequence[str]:
        """For people."""
        lines = [
            f"  {why:<18} {self.unconfirmed_nusd[why]:>7,} nUSD, {count} calls"
            for why, count in sorted(self.unconfirmed.items())
        ]
        lines.append(
            f"  of all these the provider billed {self.billed_of_unconfirmed_nusd:,} nUSD;"
        )
        lines.append("  the rest was reserved for answers that were never made or cost less")
        lines += [f"failed      {count} jobs: {why}" for why, count in sorted(self.failed.items())]
        return lines


def breakdown(plant: Plant, figures: Figures) -> Breakdown:
    """Read it from the rows of a run that has been checked."""
    failed = Counter(
        str(row.error) for row in plant.rows("SELECT error FROM results WHERE status = 'failed'")
    )
    calls: Counter[str] = Counter()
    money: Counter[str] = Counter()
    for row in plant.rows(
        "SELECT error_kind, cost_nusd FROM attempts WHERE status = 'unconfirmed'"
    ):
        calls[row.error_kind] += 1
        money[row.error_kind] += row.cost_nusd
    confirmed = figures.charged_nusd - figures.unconfirmed_nusd
    return Breakdown(failed, calls, money, figures.bill_nusd - confirmed)


def overdrawn(plant: Plant) -> list[str]:
    """Windows in which cost rows and open calls together are more than the limit, at one moment."""
    found = []
    with plant.database.snapshot() as connection:
        limits = {row.id: row for row in _all(connection, "SELECT * FROM projects")}
        spent: Counter[tuple[str, str, str]] = Counter()
        for row in _all(connection, "SELECT * FROM spend"):
            spent[row.project_id, row.kind, row.period] += row.spent_nusd
        for row in _all(connection, "SELECT * FROM attempts WHERE status = 'open'"):
            for kind, period in (("day", row.day), ("month", row.month), ("total", "")):
                spent[row.project_id, kind, period] += row.reserved_nusd
    for (project, kind, period), nusd in spent.items():
        limit = getattr(limits[project], f"{kind}_limit_nusd")
        if limit is not None and nusd > limit:
            found.append(f"{project} {kind} {period}: {nusd} of {limit}")
    return found


def _all(connection: Connection, statement: str) -> Sequence[Any]:
    return connection.execute(text(statement)).all()
