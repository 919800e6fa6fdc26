"""Ends pilots: once their lines are answered by every tier, the rest of the batch is let go.

Until then the stager sends a batch's pilot lines only. The verdict and the word that lets the rest
go are one transaction, so a batch is neither stopped for ever nor judged twice.
Horizon: 1 s after the last pilot line; lines that have not ended 15 minutes after the batch began
(held for money, a provider that is down) are judged without.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from shared.db.engine import Connection, Database
from shared.db.repositories import attempts, batch_plans, jobs, results
from shared.deciding.comparing import answer_key
from shared.deciding.piloting import Outcome, Trial, decide
from shared.domain.attempt import AttemptStatus
from shared.domain.inference import Tier, text_of
from shared.domain.job import job_id_of, line_of

PATIENCE: Final = timedelta(minutes=15)


class PilotJudge:
    """Holds nothing: pilots and their answers stand in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_once(self, now: datetime) -> int:
        """Judge the pilots that are over; returns how many those were."""
        with self._database.reading() as connection:
            running = batch_plans.piloting(connection)
        return sum(self._end(row, now) for row in running)

    def _end(self, batch: Any, now: datetime) -> bool:
        pilot = batch.pilot_plan
        ids = [job_id_of(batch.number, int(line)) for line in pilot["lines"]]
        with self._database.transaction() as connection:
            if jobs.any_open(connection, ids) and now < batch.in_progress_at + PATIENCE:
                return False
            trials, cost_nusd, extra_nusd = _trials(connection, ids, pilot["lines"])
            outcome = decide(trials, pilot["max_quality_loss"])
            told = {
                **pilot,
                "judged": len(trials),
                "choices": [choice.to_dict() for choice in outcome.choices],
                "loss_bound": outcome.loss_bound,
                "cost_nusd": cost_nusd,
                "extra_nusd": extra_nusd,
                "saved_nusd": _saved(outcome, trials, pilot["clusters"]) - extra_nusd,
            }
            return batch_plans.commit_pilot(connection, batch.number, told)


def _trials(
    connection: Connection, ids: Sequence[int], clusters: Mapping[str, str]
) -> tuple[list[Trial], int, int]:
    """The lines that every tier answered, in input order; what all calls cost, and what those cost
    that were made for the comparison alone.
    """
    bodies = results.bodies(connection, ids)
    trials: list[Trial] = []
    cost = extra = 0
    for job_id, rows in sorted(attempts.of_jobs(connection, ids).items()):
        paid = {Tier(row.tier): row.cost_nusd for row in rows if row.status == AttemptStatus.BILLED}
        cost += sum(row.cost_nusd for row in rows)
        last = max((row.rung for row in rows), default=0)
        extra += sum(row.cost_nusd for row in rows if row.rung < last)
        answered = [row for row in rows if row.verdict is not None]
        if job_id in bodies and len(answered) == last + 1 > 1:
            lost = _lost(answered, bodies[job_id])
            trials.append(Trial(clusters[str(line_of(job_id))], paid, lost))
    return trials, cost, extra


def _lost(answered: Sequence[Any], body: str) -> frozenset[Tier]:
    """The tiers that lost a line to the strongest, which is the last."""
    *weaker, strongest = answered
    if not strongest.verdict["accepted"]:
        return frozenset()
    wanted = answer_key(text_of_answer(body))
    return frozenset(
        Tier(row.tier)
        for row in weaker
        if not row.verdict["accepted"] or says_else(row.answer, wanted)
    )


def says_else(body: str | None, wanted: str | None) -> bool:
    """Whether an answer that can be compared differs. Long texts that end in a number are not
    compared by that: both must have been read from the same kind of place.
    """
    if body is None or wanted is None:
        return False
    said = answer_key(text_of_answer(body))
    return said is not None and said != wanted


def text_of_answer(body: str) -> str:
    """The text of an answer as it is stored."""
    choices = orjson.loads(body).get("choices") or [{}]
    return text_of((choices[0].get("message") or {}).get("content"))


def _saved(
    outcome: Outcome, trials: Sequence[Trial], clusters: Mapping[str, Mapping[str, Any]]
) -> int:
    """What the choices are expected to save over the usual routing of the rest, by the pilot's own
    prices.
    """
    costs: dict[tuple[str, Tier], list[int]] = defaultdict(list)
    for trial in trials:
        for tier, cost in trial.costs_nusd.items():
            costs[trial.cluster, tier].append(cost)
    saved = 0.0
    for choice in outcome.choices:
        mean = _mean(costs[choice.cluster, choice.tier])
        for name, count in clusters.get(choice.cluster, {}).items():
            usual = costs[choice.cluster, Tier(name)]
            if usual:
                saved += count * (_mean(usual) - mean)
    return round(saved)


def _mean(figures: Sequence[int]) -> float:
    return sum(figures) / len(figures) if figures else 0.0
