"""What a reconciliation found: readable lines, and the same as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from shared.domain.money import usd_from_nusd


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `mended` is False where it was only seen: it may be a call on its way.

    kind: reservation_without_intent, reservation_of_an_ended_attempt, spent_too_low,
    spent_too_high, limit_differs, or sums_differ_from_cost_rows (which is never mended: somebody
    wrote to the database by hand, or this program is wrong).
    """

    kind: str
    subject: str
    redis_nusd: int | None
    database_nusd: int | None
    mended: bool


@dataclass(slots=True)
class Report:
    """Everything one reconciliation looked at."""

    scopes: int = 0
    reservations: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def mended(self) -> int:
        """How many differences were mended."""
        return sum(finding.mended for finding in self.findings)

    @property
    def agrees(self) -> bool:
        """Whether counters, sums and cost rows say the same, or do so now."""
        return all(finding.mended for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The form of `promptmill reconcile --json`."""
        return {
            "scopes": self.scopes,
            "reservations": self.reservations,
            "agrees": self.agrees,
            "mended": self.mended,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def lines(self) -> Sequence[str]:
        """The form for people."""
        if not self.findings:
            verdict = "counters and database agree"
        else:
            left = len(self.findings) - self.mended
            verdict = f"{self.mended} differences mended, {left} left"
        head = f"{self.scopes} scopes, {self.reservations} old reservations: {verdict}"
        return [head, *(_line(finding) for finding in self.findings)]


def _line(finding: Finding) -> str:
    state = "mended" if finding.mended else "left"
    return (
        f"  {finding.kind.replace('_', ' ')}: {finding.subject},"
        f" Redis {_usd(finding.redis_nusd)}, database {_usd(finding.database_nusd)} ({state})"
    )


def _usd(nusd: int | None) -> str:
    return "none" if nusd is None else f"{usd_from_nusd(nusd)} USD"
