"""What a claim brings: its jobs, what was done for them before, and what they share.

Reads and nothing else, in one go a chunk.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.db.engine import Connection
from shared.db.repositories import (
    attempts,
    batch_plans,
    batches,
    job_claims,
    webhook_endpoints,
)
from shared.db.repositories.job_claims import ClaimedJob
from shared.deciding.routing_policy import Learned, Piloting, RoutingPolicy
from shared.domain.inference import Tier
from shared.domain.job import batch_number_of
from worker.answer_cache import Caching
from worker.batch_context import BatchContext, Trial
from worker.learned_routing import LearnedRouting
from worker.tracing import ChunkTrace

RoutingPolicyOf = Callable[[Mapping[str, Any]], RoutingPolicy]
"""Makes the policy of a project from the `routing` column of its row."""


@dataclass(frozen=True, slots=True)
class ClaimedChunk:
    """Jobs under one claim. earlier: the attempts of former claims, by job."""

    jobs: Sequence[ClaimedJob]
    earlier: Mapping[int, Sequence[Any]]
    batch: BatchContext
    trace: ChunkTrace | None = None


class ChunkReading:
    """One a process."""

    def __init__(self, policy_of: RoutingPolicyOf, learned: LearnedRouting) -> None:
        self._policy_of = policy_of
        self._learned = learned

    def read(
        self, connection: Connection, job_ids: Sequence[int], token: str
    ) -> ClaimedChunk | None:
        """What was claimed, with what its jobs share; None where it was lost by now."""
        return self._chunk(connection, job_claims.claimed(connection, job_ids, token))

    def read_untouched(
        self, connection: Connection, job_ids: Sequence[int], token: str
    ) -> ClaimedChunk | None:
        """What is still to be claimed, as `read` tells it afterwards; None where some of it was
        begun before.
        """
        found = job_claims.untouched(connection, job_ids, token)
        return self._chunk(connection, found) if len(found) == len(job_ids) else None

    def _chunk(self, connection: Connection, claimed: Sequence[ClaimedJob]) -> ClaimedChunk | None:
        if not claimed:
            return None
        batch = batches.with_project(connection, batch_number_of(claimed[0].id))
        if batch is None:
            return None
        again = [job.id for job in claimed if job.deaths or job.decision]
        earlier = attempts.of_jobs(connection, again) if again else {}
        return ClaimedChunk(claimed, earlier, self._context(connection, batch))

    def _context(self, connection: Connection, batch: batches.BatchRow) -> BatchContext:
        endpoints = webhook_endpoints.wanting(connection, [batch.project_id])
        announced = any("job.completed" in endpoint.event_types for endpoint in endpoints)
        policy = self._policy_of(batch.routing)
        learned = self._learned.of(
            connection, batch.project_id, batch.number if batch.total > 1 else 0
        )
        if learned.shifts:
            policy = replace(policy, learned=learned)
        trial = self._trial(batch, learned)
        if batch.optimise is not None:
            gain = batch_plans.gain_per_usd(connection, batch.number)
            policy = replace(policy, gain_per_usd=gain, allow_downgrade=True)
        if batch.pilot is not None:
            pilot = batch_plans.pilot_of(connection, batch.number)
            policy = replace(policy, piloting=_piloting(batch, pilot))
        return BatchContext(
            batch.number,
            batch.id,
            batch.project_id,
            policy,
            announced,
            is_capped=batch.max_cost_nusd is not None,
            has_duplicates=batch.duplicates > 0,
            caching=_caching_of(batch),
            key_id=batch.key_id,
            trial=trial,
        )

    def _trial(self, batch: batches.BatchRow, learned: Learned) -> Trial | None:
        """The project's trial; a batch that is planned as a whole takes no part."""
        trial = batch.routing.get("trial")
        if trial is None or batch.optimise is not None or batch.pilot is not None:
            return None
        policy = self._policy_of({**batch.routing, **trial["policy"]})
        return Trial(trial["name"], trial["share"], replace(policy, learned=learned))


def _piloting(batch: batches.BatchRow, pilot: Mapping[str, Any]) -> Piloting:
    if batch.pilot == batches.PILOT_ASKING:
        return Piloting(asks_all=True)
    tiers = tuple((one["cluster"], Tier(one["tier"])) for one in pilot.get("choices", ()))
    return Piloting(tiers=tiers, otherwise=Tier.HIGH if batch.max_quality_loss else None)


def _caching_of(batch: batches.BatchRow) -> Caching | None:
    if batch.cache_ttl_s is None:
        return None
    return Caching(batch.cache_name, batch.cache_ttl_s)
