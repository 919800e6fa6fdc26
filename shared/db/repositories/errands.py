"""What there is to do for the repairers, told by one query that costs next to nothing: a step of
one small index for each kind.
"""

from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, Select, literal, select, text, union_all

from shared.db.tables import (
    OPEN_BATCH,
    UNLEARNED_FEEDBACK,
    UNLEARNED_PLAN,
    UNSUMMED_BATCH,
    batch_plans,
    batches,
    feedback,
    outbox,
)


class Errand(StrEnum):
    """A kind of thing that some repairer may have to do."""

    OPEN_BATCHES = "open_batches"
    EVENTS = "events"
    PLANS = "plans"
    FEEDBACK = "feedback"
    ENDED_BATCHES = "ended_batches"


def _any_of(errand: Errand, found: Select[int]) -> Select[str]:
    return select(literal(errand.value).label("errand")).where(found.exists())


_NOW: Final = union_all(
    _any_of(Errand.OPEN_BATCHES, select(batches.c.number).where(text(OPEN_BATCH))),
    _any_of(Errand.EVENTS, select(outbox.c.number).where(outbox.c.relayed_at.is_(None))),
    _any_of(Errand.PLANS, select(batch_plans.c.batch_number).where(text(UNLEARNED_PLAN))),
    _any_of(Errand.FEEDBACK, select(feedback.c.job_id).where(text(UNLEARNED_FEEDBACK))),
    _any_of(Errand.ENDED_BATCHES, select(batches.c.number).where(text(UNSUMMED_BATCH))),
)


def errands(connection: Connection) -> frozenset[Errand]:
    """The kinds of which there is something. ENDED_BATCHES: that are not summed up yet; PLANS: of
    which nothing is learned yet, also those of open batches.
    """
    return frozenset(Errand(word) for word in connection.execute(_NOW).scalars())
