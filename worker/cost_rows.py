"""What a call cost: from what came back to its cost row.

Billed by its usage, free, or unconfirmed at its reservation. Everything that may be on the
provider's bill is charged; only what certainly is not costs nothing.
"""

from datetime import datetime
from typing import Final

import structlog

from shared.catalog.pricing import cost_nusd
from shared.db.repositories.attempts import Closing, Intent
from shared.domain.attempt import AttemptStatus
from shared.domain.inference import Completion
from worker.providers.errors import HungUp, MaybeBilled, ProviderError
from worker.providers.prepared_call import PreparedCall

log = structlog.get_logger(__name__)


RESERVATION_LOST: Final = "reservation_lost"
WITHDRAWN: Final = "withdrawn"
"""Kinds of calls that never left: Redis lost its counters; the provider fell sick meanwhile."""


def never_sent(
    intent: Intent, reason: str, now: datetime, *, kind: str = RESERVATION_LOST
) -> Closing:
    """The row of a call that could not leave after its intent was durable."""
    return Closing(
        intent,
        AttemptStatus.FREE,
        0,
        now,
        error_kind=kind,
        error_message="never sent: " + reason[:200],
    )


def billed(
    intent: Intent, prepared: PreparedCall, completion: Completion, now: datetime
) -> Closing:
    """The price of an answer: its usage, also where that is more than was reserved; without one,
    all that was reserved.
    """
    usage = completion.usage
    warnings = list(prepared.encoded.warnings)
    if completion.body.get("usage") is None:
        # Its tokens are bounds then, priced as plain input: what wrote a cache may cost more.
        cost = intent.reserved_nusd
        warnings.append("usage_not_reported")
    else:
        cost = cost_nusd(prepared.model.price, usage)
    if cost > intent.reserved_nusd:
        warnings.append("cost_above_reservation")
        log.warning(
            "a provider reported more than was reserved",
            model=intent.model,
            attempt=intent.id,
            cost_nusd=cost,
            reserved_nusd=intent.reserved_nusd,
        )
    return Closing(
        intent,
        AttemptStatus.BILLED,
        cost,
        now,
        input_tokens=usage.total_input_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens + usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        finish_reason=completion.finish_reason.value,
        warnings=warnings,
    )


def failed(intent: Intent, prepared: PreparedCall, error: ProviderError, now: datetime) -> Closing:
    """The price of a failure: nothing where the provider refused without usage or nothing left,
    otherwise all that was reserved, for it may be on the bill. A stream that we cut costs what we
    counted, which nobody has confirmed.
    """
    if isinstance(error, HungUp) and error.billed is not None:
        counted = cost_nusd(prepared.model.price, error.billed)
        status, cost = AttemptStatus.UNCONFIRMED, min(counted, intent.reserved_nusd)
    elif error.billed is not None:
        status, cost = AttemptStatus.BILLED, cost_nusd(prepared.model.price, error.billed)
    elif isinstance(error, MaybeBilled):
        status, cost = AttemptStatus.UNCONFIRMED, intent.reserved_nusd
    else:
        status, cost = AttemptStatus.FREE, 0
    return Closing(
        intent,
        status,
        cost,
        now,
        input_tokens=error.billed.total_input_tokens if error.billed else 0,
        output_tokens=error.billed.output_tokens if error.billed else 0,
        error_kind=error.kind,
        error_message=str(error).replace("\x00", "")[:500],
    )
