"""The log of recent calls: who asked what model, what became of it, what it cost."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, Final

_KEPT: Final = 10_000


@dataclass(slots=True)
class CallRecord:
    """One request. outcome: answered, an answer fault's or problem's kind, or `running`.

    cost_nusd: what this call put on the bill. prompt: kept only where the simulator was told to.
    """

    id: str
    at: float
    wire: str
    model: str
    key: str
    path: str
    stream: bool = False
    status: int | None = None
    outcome: str = "running"
    cost_nusd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    prompt: str | None = None
    traceparent: str | None = None


class CallLog:
    """The last ten thousand calls, and how many there were of each outcome."""

    def __init__(self) -> None:
        self._recent: deque[CallRecord] = deque(maxlen=_KEPT)
        self._outcomes: dict[str, int] = {}
        self._total = 0

    def open(self, record: CallRecord) -> CallRecord:
        """Note a call that has come in."""
        self._recent.append(record)
        self._total += 1
        return record

    def close(self, record: CallRecord, status: int | None, outcome: str) -> None:
        """Note how a call ended; None: no status was ever sent."""
        record.status = status
        record.outcome = outcome
        self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1

    def as_json(self, limit: int) -> dict[str, Any]:
        """The newest calls first, as the control endpoint shows them."""
        newest = reversed(self._recent)
        shown = [asdict(record) for record, _ in zip(newest, range(limit), strict=False)]
        if not any(record["prompt"] is not None for record in shown):
            for record in shown:
                del record["prompt"]
        return {"calls": shown, "total": self._total, "by_outcome": dict(self._outcomes)}
