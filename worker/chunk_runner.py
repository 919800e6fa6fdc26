"""The chunk runner: claims a chunk's jobs, runs them on the process's one loop, and waits.

A Celery thread calls `run` and waits, which costs nothing; the jobs themselves are coroutines.
`worker.call_slots` says how many of them run at once. The next chunk is claimed as soon as the jobs
in hand fall to about that number, whichever chunks they belong to: a chunk that waits for its
slowest job keeps its thread and nothing else, and leases are held only for work about to begin.

Rescue is by leases in the database: the heart (a thread of its own) renews the claims of this
process, those that have been held for a sixth of a lease; most jobs end before. When it stops, the
rescuer gives the jobs to others, and nothing this process writes about them afterwards counts. On
shutdown, jobs whose calls are in flight are finished within the grace time, the rest is handed back
unpaid; what hangs beyond that is left to the rescuer, like a dead worker's.

When a worker dies, nobody knows which of its jobs it was. So a job on its last chance is run by
itself, with nothing else in the process: if that one dies too, no innocent job is set aside with
the guilty one.
"""

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog

from shared.clock import utc_now
from shared.db.engine import Connection, Database
from shared.db.repositories import (
    attempts,
    batch_plans,
    batches,
    job_claims,
    projects,
    webhook_endpoints,
)
from shared.db.repositories.job_claims import ClaimedJob
from shared.deciding.constraints import Learned, Piloting, RoutingPolicy
from shared.domain.batch import BatchStatus
from shared.domain.inference import Tier
from shared.domain.job import JobStatus, public_job_id
from shared.errors import UnavailableError
from shared.fault_points import FaultPoint, reach
from shared.ids import claim_token
from worker.answer_cache import Caching
from worker.call_slots import CallSlots
from worker.learned_routing import LearnedRouting
from worker.pipeline import BatchContext, Pipeline, Trial
from worker.story import Story
from worker.tracing import Carried, ChunkTrace, JobTrace

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")

_READ_AGAIN_S = 0.5
_DECIDED_AT_ONCE = 20
"""Jobs: they hold the loop for a millisecond, then others have their turn."""
_RENEWED_AFTER = 1 / 6
"""Of a lease. With a beat every sixth of it each claim is good for two thirds at any time."""

RoutingPolicyOf = Callable[[Mapping[str, Any]], RoutingPolicy]
"""Makes the policy of a project from the `routing` column of its row."""


@dataclass(frozen=True, slots=True)
class _Claimed:
    jobs: Sequence[ClaimedJob]
    earlier: Mapping[int, Sequence[Any]]
    batch: BatchContext
    trace: ChunkTrace | None = None


class ChunkRunner:
    """One a process; `run` is called from many threads, everything else happens in the loop."""

    def __init__(
        self,
        database: Database,
        pipeline: Pipeline,
        loop: asyncio.AbstractEventLoop,
        policy_of: RoutingPolicyOf,
        learned: LearnedRouting,
        *,
        slots: CallSlots,
        lease_s: float,
        max_deaths: int,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._pipeline = pipeline
        self._loop = loop
        self._policy_of = policy_of
        self._learned = learned
        self._lease_s = lease_s
        self._clock = clock
        self._last_chance = max(1, max_deaths - 1)
        self._slots = slots
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        slots.when_claimable(self._look_for_room)
        self._quiet = threading.Condition(self._lock)
        self._unfinished = 0
        self._chunks = 0
        self._alone = threading.Lock()
        self._wants_to_be_alone = False
        self._under_way: set[asyncio.Task[Any]] = set()
        self._leases: dict[str, datetime] = {}  # of each claim token, until when
        self._called_off: dict[int, JobStatus] = {}
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        """Whether nothing new is begun any more."""
        return self._stopping.is_set()

    @property
    def unfinished(self) -> int:
        """Jobs under this process's claims."""
        return self._unfinished

    def run(self, job_ids: Sequence[int], carried: Carried | None = None) -> int:
        """Claim what of the chunk is still to be done, do it, and return how many jobs that were.

        Returns when all of them are durable: finished, held or handed back. Raises
        UnavailableError when the database cannot be asked for them. carried: by its message.
        """
        if not self._wait_for_room(len(job_ids)):
            return 0
        try:
            done = self._run_claimed(job_ids, self._last_chance, carried)
            suspects = self._suspects(job_ids) if done < len(job_ids) else ()
        finally:
            self._end_chunk()
        return done + sum(self._run_alone(job_id, carried) for job_id in suspects)

    def _run_claimed(
        self,
        job_ids: Sequence[int],
        deaths_below: int | None = None,
        carried: Carried | None = None,
    ) -> int:
        """Gives back the room that was taken for the jobs: each one's when it ends."""
        token = claim_token()
        room = len(job_ids)
        try:
            claimed = self._claim(job_ids, token, deaths_below)
            if claimed is None:
                return 0
            reach(FaultPoint.AFTER_CLAIM)
            running = self._submit(self._run_all(claimed, carried))
            self._leave(room - len(claimed.jobs))
            room = 0
            running.result()
            return len(claimed.jobs)
        finally:
            self._leave(room)
            with self._lock:
                self._leases.pop(token, None)

    def _suspects(self, job_ids: Sequence[int]) -> Sequence[int]:
        with self._database.reading() as connection:
            return job_claims.suspects(connection, job_ids, self._last_chance)

    def _run_alone(self, job_id: int, carried: Carried | None) -> int:
        with self._alone:
            try:
                if not self._wait_to_be_alone():
                    return 0
                try:
                    return self._run_claimed([job_id], carried=carried)
                finally:
                    self._end_chunk()
            finally:
                self._wants_to_be_alone = False
                with self._room:
                    self._room.notify_all()

    def stop(self) -> None:
        """Begin nothing new: jobs whose call has not begun are handed back. Safe in a signal
        handler, which may have interrupted a thread that holds a lock.
        """
        self._stopping.set()
        self._loop.call_soon_threadsafe(self._wake_waiting)

    def let_go(self) -> None:
        """Wait no longer for calls in flight: their jobs stay claimed, and when the lease is over
        the rescuer charges them as unconfirmed.
        """
        self._loop.call_soon_threadsafe(self._cancel_all)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Whether all chunks in hand ended within that time."""
        with self._quiet:
            return self._quiet.wait_for(lambda: not self._chunks, timeout_s)

    def renew(self) -> None:
        """Renew the leases of this process's claims that have not just begun; call it every sixth
        of a lease. Where there is nothing to renew, the database is not asked.
        """
        until = self._lease_end()
        aged = until - timedelta(seconds=self._lease_s * _RENEWED_AFTER)
        tokens = [token for token, end in list(self._leases.items()) if end <= aged]
        if not tokens:
            return
        with self._database.transaction() as connection:
            job_claims.renew(connection, tokens, until)
        with self._lock:
            self._leases.update({token: until for token in tokens if token in self._leases})

    def note_called_off(self, connection: Connection) -> None:
        """Learn which batches were called off: of these nothing more is begun."""
        ending = batches.open_batches(connection, BatchStatus.CANCELLING, BatchStatus.FINALIZING)
        self._called_off = {
            row.number: (
                JobStatus.CANCELLED if row.status == BatchStatus.CANCELLING else JobStatus.EXPIRED
            )
            for row in ending
        }

    def _wait_for_room(self, wanted: int) -> bool:
        with self._room:
            while not self.stopping and (
                self._unfinished >= self._slots.to_claim or self._wants_to_be_alone
            ):
                self._room.wait()
            if self.stopping:
                return False
            self._chunks += 1
            self._unfinished += wanted
            if self._unfinished < self._slots.to_claim:
                self._room.notify()
            return True

    def _wait_to_be_alone(self) -> bool:
        with self._quiet:
            self._wants_to_be_alone = True
            while self._unfinished and not self.stopping:
                self._quiet.wait()
            if self.stopping:
                return False
            self._chunks += 1
            self._unfinished += 1
            return True

    def _wake_waiting(self) -> None:
        with self._lock:
            self._room.notify_all()
            self._quiet.notify_all()

    def _end_chunk(self) -> None:
        with self._lock:
            self._chunks -= 1
            self._quiet.notify_all()

    def _leave(self, count: int) -> None:
        """So many jobs ended. One waiting thread is woken; what it takes wakes the next."""
        with self._lock:
            self._unfinished -= count
            if self._unfinished < self._slots.to_claim:
                self._room.notify()
            if not self._unfinished:
                self._quiet.notify_all()

    def _lease_end(self) -> datetime:
        return self._clock() + timedelta(seconds=self._lease_s)

    def _claim(
        self, job_ids: Sequence[int], token: str, deaths_below: int | None
    ) -> _Claimed | None:
        # The heart must know the token before the first lease could lapse.
        self._leases[token] = until = self._lease_end()
        with self._database.transaction() as connection:
            if not job_claims.claim(connection, job_ids, token, until, deaths_below=deaths_below):
                return None
        while True:
            try:
                with self._database.reading() as connection:
                    return self._read(connection, job_ids, token)
            except UnavailableError as error:
                # They are ours by now, and the heart keeps them so.
                log.warning("a claim waits for the database", reason=error.message)
                time.sleep(_READ_AGAIN_S)

    def _read(self, connection: Connection, job_ids: Sequence[int], token: str) -> _Claimed | None:
        """What was claimed, with what its jobs share; None where it was lost by now."""
        claimed = job_claims.claimed(connection, job_ids, token)
        batch = batches.by_number(connection, job_ids[0] >> 24)
        if not claimed or batch is None:
            return None
        project = projects.get(connection, batch.project_id)
        routing = project.routing if project is not None else {}
        endpoints = webhook_endpoints.wanting(connection, [batch.project_id])
        announced = any("job.completed" in endpoint.event_types for endpoint in endpoints)
        again = [job.id for job in claimed if job.deaths or job.decision]
        earlier = attempts.of_jobs(connection, again) if again else {}
        policy = self._policy_of(routing)
        learned = self._learned.of(
            connection, batch.project_id, batch.number if batch.total > 1 else 0
        )
        if learned.shifts:
            policy = replace(policy, learned=learned)
        trial = self._trial(routing, batch, learned)
        if batch.optimise is not None:
            gain = batch_plans.gain_per_usd(connection, batch.number)
            policy = replace(policy, gain_per_usd=gain, allow_downgrade=True)
        if batch.pilot is not None:
            pilot = batch_plans.pilot_of(connection, batch.number)
            policy = replace(policy, piloting=_piloting(batch, pilot))
        context = BatchContext(
            batch.number,
            batch.id,
            batch.project_id,
            policy,
            announced,
            is_capped=batch.max_cost_nusd is not None,
            has_duplicates=batch.duplicates > 0,
            caching=_caching_of(project),
            key_id=batch.key_id,
            trial=trial,
        )
        return _Claimed(claimed, earlier, context)

    def _trial(
        self, routing: Mapping[str, Any], batch: batches.BatchRow, learned: Learned
    ) -> Trial | None:
        """The project's trial; a batch that is planned as a whole takes no part."""
        trial = routing.get("trial")
        if trial is None or batch.optimise is not None or batch.pilot is not None:
            return None
        policy = self._policy_of({**routing, **trial["policy"]})
        return Trial(trial["name"], trial["share"], replace(policy, learned=learned))

    def _submit(self, work: Coroutine[Any, Any, ResultT]) -> "concurrent.futures.Future[ResultT]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _run_all(self, claimed: _Claimed, carried: Carried | None) -> None:
        # A task takes over the context it is made in, so every record from here on names the batch.
        structlog.contextvars.bind_contextvars(batch=claimed.batch.id)
        if carried is not None:
            batch = claimed.batch
            trace = carried.claimed(batch.id, is_awaited=batch.is_awaited)
            claimed = replace(claimed, trace=trace)
        try:
            async with asyncio.TaskGroup() as group:
                for place, job in enumerate(claimed.jobs, start=1):
                    earlier = claimed.earlier.get(job.id, ())
                    story = self._pipeline.decide_ahead(job, claimed.batch, earlier)
                    group.create_task(self._run_one(job, claimed, story))
                    if place % _DECIDED_AT_ONCE == 0:
                        await asyncio.sleep(0)
        finally:
            if claimed.trace is not None:
                claimed.trace.end(len(claimed.jobs))

    def _look_for_room(self) -> None:
        with self._lock:
            if self._unfinished < self._slots.to_claim:
                self._room.notify()

    def _cancel_all(self) -> None:
        if self._under_way:
            log.warning("calls were left at the end of the grace time", jobs=len(self._under_way))
        for task in self._under_way:
            task.cancel()

    async def _run_one(self, job: ClaimedJob, claimed: _Claimed, story: Story | None) -> None:
        structlog.contextvars.bind_contextvars(job=public_job_id(job.id))
        trace = None if claimed.trace is None else claimed.trace.job(job.id)
        await self._slots.begin()
        try:
            if self.stopping:
                await self._pipeline.hand_back(job, "the worker stopped")
            elif (end := self._called_off.get(claimed.batch.number)) is not None:
                await self._pipeline.call_off(job, claimed.earlier.get(job.id, ()), end)
            else:
                await self._run_to_rest(job, claimed, trace, story)
        except Exception:
            # Whatever it was, it must not take the chunk's other jobs with it. The job's
            # lease lapses, the rescuer counts a death, and the third one sets it aside.
            log.exception("a job was given up")
        finally:
            self._slots.end()
            if trace is not None:
                trace.end()
            self._leave(1)

    async def _run_to_rest(
        self, job: ClaimedJob, claimed: _Claimed, trace: JobTrace | None, story: Story | None
    ) -> None:
        """What `let_go` may cancel: from here on a call may be in flight."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a job runs in a task of its own")
        self._under_way.add(task)
        try:
            earlier = claimed.earlier.get(job.id, ())
            await self._pipeline.run(job, claimed.batch, earlier, trace, story)
        finally:
            self._under_way.discard(task)


def _piloting(batch: batches.BatchRow, pilot: Mapping[str, Any]) -> Piloting:
    if batch.pilot == batches.PILOT_ASKING:
        return Piloting(asks_all=True)
    tiers = tuple((one["cluster"], Tier(one["tier"])) for one in pilot.get("choices", ()))
    return Piloting(tiers=tiers, otherwise=Tier.HIGH if batch.max_quality_loss else None)


def _caching_of(project: Any) -> Caching | None:
    if project is None or project.cache_ttl_s is None:
        return None
    return Caching(project.cache_name, project.cache_ttl_s)


class Heart:
    """Beats for a process: renews its leases in a thread of its own, so that neither a busy loop
    nor a long commit lets them lapse.
    """

    def __init__(self, beat: Callable[[], None], every_s: float) -> None:
        self._beat = beat
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        """Begin beating."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            try:
                self._beat()
            except UnavailableError as error:
                log.warning("leases could not be renewed", reason=error.message)
            except Exception:
                log.exception("the heart stumbled")
