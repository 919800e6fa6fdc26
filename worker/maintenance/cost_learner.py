"""Learns from batches that ended what their answers cost, for the plans of the next ones, and how
good they were, for their routing.

Each batch is learned once, in one transaction with the mark that says so, whatever dies in between.
Horizon: 5 s after its end; until then a plan knows nothing of it.
Weakness: prompts of one task type that share no template and say nothing of the length they want
share one figure, however different; chats are learned from only where somebody says what their
answers were worth.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.db.engine import Database
from shared.db.repositories import batch_plans, cost_tallies, outcomes
from shared.db.repositories.outcomes import Outcomes
from shared.deciding.batch_sums import sums_of
from shared.deciding.comparing import answer_key
from shared.deciding.constraints import rank
from shared.deciding.learning import Evidence
from shared.domain.inference import TaskType, Tier
from worker.maintenance.pilot_judge import says_else, text_of_answer


class CostLearner:
    """Holds nothing: what is still to be learned stands in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_once(self, now: datetime) -> int:
        """Learn what there is; returns from how many batches."""
        with self._database.reading() as connection:
            waiting = batch_plans.to_learn(connection)
        return sum(self._learn(batch, now) for batch in waiting)

    def _learn(self, batch: Any, now: datetime) -> bool:
        with self._database.reading() as connection:
            answers = cost_tallies.answers_of_batch(connection, batch.number, batch.total)
            judged = outcomes.judged_in_batch(connection, batch.number, batch.total)
            compared = outcomes.compared_in_batch(connection, batch.number)
        sums = sums_of(answers)
        with self._database.transaction() as connection:
            if not batch_plans.mark_learned(connection, batch.number, now):
                return False
            cost_tallies.add_batch(connection, batch.project_id, sums, now)
            outcomes.add(connection, batch.project_id, _learned(judged, compared), now)
        return True


def _learned(judged: Outcomes, compared: Sequence[Any]) -> Outcomes:
    """What a batch says of its models."""
    found: Outcomes = defaultdict(Evidence, judged)
    for row in compared:
        said = _beside_stronger(row)
        if said is not None:
            key = (row.model, TaskType(row.task_type))
            found[key] = found[key].plus(said)
    return {key: evidence.of_one_batch() for key, evidence in found.items()}


def _beside_stronger(row: Any) -> Evidence | None:
    """Whether an answer says what the stronger model's said; None where that cannot be told."""
    if rank(Tier(row.end_tier)) <= rank(Tier(row.tier)):
        return None
    wanted = answer_key(text_of_answer(row.body))
    if wanted is None or answer_key(text_of_answer(row.answer)) is None:
        return None
    return Evidence(differed=1.0) if says_else(row.answer, wanted) else Evidence(agreed=1.0)
