"""Why there was no answer: in words, as an error, and whether somebody else may do better. Pure."""

from typing import Any, Final

from shared.domain.money import usd_from_nusd
from worker.asking import Exhaustion
from worker.outcome import Busy, ClaimLost, Failed, MoneyBusy, MoneyGone, MoneyTooSmall
from worker.providers.errors import MaybeBilled, RequestRefused, Throttled

SOON_S: Final = 1.0
"""After which money is asked for again where others have reserved it."""
SICK_RETRY_S: Final = 5.0
"""After which a sick provider is asked again, unless it says so itself."""


def is_sick(outcome: object) -> bool:
    """Whether another provider may do better: this one is down, refuses us or fails."""
    match outcome:
        case Busy():
            return outcome.down or outcome.account_level
        case Failed(error, _):
            return not isinstance(error, Throttled)
        case _:
            return False


def turned_away(why: Exhaustion) -> dict[str, Any] | None:
    """The error of a job that would be parked or go back to the queue, were it not waited for on
    an open connection: whoever waits may ask again. None where it fails anyway.
    """
    match why:
        case MoneyGone(scope, need, limit):
            figures = {"scope": scope.text, "need_nusd": need, "limit_nusd": limit}
            return {"code": "budget_exceeded", "message": used_up(why), **figures}
        case MoneyBusy(reason):
            code, seconds = "budget_busy", SOON_S
        case Busy(seconds, reason):
            code = "provider_unavailable" if is_sick(why) else "rate_limit_exceeded"
        case Failed(RequestRefused() | MaybeBilled()):
            return None
        case Failed(error):
            code = "provider_unavailable" if is_sick(why) else "rate_limit_exceeded"
            reason, seconds = f"{error.kind}: {error.message}", error.retry_after_s or SICK_RETRY_S
        case _:
            return None
    status = 503 if code == "provider_unavailable" else 429
    pause = round(max(seconds, 0.1), 3)
    return {"code": code, "message": reason, "status": status, "retry_after_s": pause}


def used_up(why: MoneyGone) -> str:
    """Whose money is gone, with the figures."""
    return (
        f"{why.scope.text} is used up: needs {usd_from_nusd(why.need_nusd)} USD, "
        f"{usd_from_nusd(why.spent_nusd)} of {usd_from_nusd(why.limit_nusd)} USD are spent"
    )


def in_words(why: Exhaustion) -> str:
    """Why a job keeps the weaker answer that it has."""
    match why:
        case MoneyGone() | MoneyTooSmall():
            return f"the budget {why.scope.text} does not carry the climb"
        case MoneyBusy(reason) | Busy(_, reason):
            return reason
        case Failed(error, _):
            return f"{error.kind}"
        case ClaimLost():
            return "the claim was lost"
