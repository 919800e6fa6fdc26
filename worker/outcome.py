"""What became of one attempt, as values: the pipeline matches on them exhaustively."""

from dataclasses import dataclass

from shared.budget.model import Scope
from shared.db.repositories.attempts import Closing
from shared.domain.inference import Completion
from shared.domain.values import made_often
from worker.providers.errors import ProviderError


@made_often(frozen=True, slots=True)
class Answered:
    """The provider answered; `closing` holds the price and waits to be written."""

    completion: Completion
    closing: Closing


@dataclass(frozen=True, slots=True)
class Failed:
    """The call failed; `closing` says what it cost: nothing, or all that was reserved."""

    error: ProviderError
    closing: Closing


@dataclass(frozen=True, slots=True)
class MoneyGone:
    """Spent: only a higher limit or a new period helps. Nothing was sent."""

    scope: Scope
    need_nusd: int
    limit_nusd: int
    spent_nusd: int


@dataclass(frozen=True, slots=True)
class MoneyTooSmall:
    """The worst case is more than the whole limit. Nothing was sent."""

    scope: Scope
    need_nusd: int
    limit_nusd: int


@dataclass(frozen=True, slots=True)
class MoneyBusy:
    """The money is there, but reserved by calls that have not settled yet. Nothing was sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class Busy:
    """No call may be made to this provider now; `retry_in_s` says when to ask again.

    down: it is sick, and the job's patience counts. account_level: its account refuses us (no
    credit, a wrong key), which somebody must mend. Neither: it is merely at a limit.
    """

    retry_in_s: float
    reason: str
    down: bool = False
    account_level: bool = False


@dataclass(frozen=True, slots=True)
class ClaimLost:
    """Another worker has the job by now. Nothing was sent."""


MoneyRefused = MoneyGone | MoneyTooSmall | MoneyBusy
AttemptOutcome = Answered | Failed | MoneyRefused | Busy | ClaimLost
