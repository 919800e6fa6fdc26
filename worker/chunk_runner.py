"""The chunk runner: claims a chunk's jobs, runs them on the process's one loop, and waits.

A Celery thread calls `run` and waits, which costs nothing; the jobs themselves are coroutines.
`worker.call_slots` says how many of them run at once, `worker.claim_room` when more are claimed,
`worker.leases` keeps the claims, `worker.chunk_reading` reads what they bring.

On shutdown, jobs whose calls are in flight are finished within the grace time, the rest is handed
back unpaid; what hangs beyond that is left to the rescuer, like a dead worker's.

When a worker dies, it has hundreds of jobs. Those that saw a death before are run under marks
(`worker.work_marks`), which tell whose fault it was; one on its last chance (`shared.domain.blame`)
is run by itself, with nothing else in the process, so that no other call is lost with it.
"""

import asyncio
import concurrent.futures
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from shared.clock import utc_now
from shared.db.engine import Connection, Database
from shared.db.repositories import batches, job_claims
from shared.db.repositories.job_claims import ClaimedJob
from shared.domain.batch import BatchStatus
from shared.domain.blame import BlameRule
from shared.domain.job import JobStatus, public_job_id
from shared.errors import UnavailableError
from shared.fault_points import FaultPoint, reach
from shared.ids import claim_token
from shared.redis_client import stopped
from worker.call_slots import CallSlots
from worker.chunk_reading import ChunkReading, ClaimedChunk
from worker.claim_room import ClaimRoom
from worker.leases import Leases
from worker.pending_claims import Claim, PendingClaims
from worker.pipeline import Pipeline
from worker.story import Story
from worker.tracing import Carried, JobTrace
from worker.work_marks import Mark, WorkMarks

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")

_READ_AGAIN_S = 0.5
_UNCLAIMED_S = 0.25
"""How long a job that is to be claimed with its first write may go without."""
_DECIDED_AT_ONCE = 20
"""Jobs: they hold the loop for a millisecond, then others have their turn."""


class ChunkRunner:
    """One a process; `run` is called from many threads, everything else happens in the loop."""

    def __init__(
        self,
        database: Database,
        pipeline: Pipeline,
        loop: asyncio.AbstractEventLoop,
        reading: ChunkReading,
        pending: PendingClaims,
        marks: WorkMarks,
        *,
        slots: CallSlots,
        lease_s: float,
        max_deaths: int,
    ) -> None:
        self._database = database
        self._pipeline = pipeline
        self._loop = loop
        self._reading = reading
        self._pending = pending
        self._marks = marks
        self._blame = BlameRule(max_deaths)
        self._slots = slots
        self._room = ClaimRoom(slots)
        self._leases = Leases(database, lease_s)
        self._under_way: set[asyncio.Task[Any]] = set()
        self._called_off: dict[int, JobStatus] = {}

    @property
    def stopping(self) -> bool:
        """Whether nothing new is begun any more."""
        return self._room.is_closed

    @property
    def unfinished(self) -> int:
        """Jobs under this process's claims."""
        return self._room.unfinished

    def run(
        self, job_ids: Sequence[int], carried: Carried | None = None, *, is_first: bool = False
    ) -> int:
        """Claim what of the chunk is still to be done, do it, and return how many jobs that were.

        Returns when all of them are durable: finished, held or handed back. Raises
        UnavailableError when the database cannot be asked for them. carried: by its message.
        is_first: no worker can have begun them, so each is claimed with its first write.
        """
        if not self._room.enter(len(job_ids)):
            return 0
        try:
            done = self._run_claimed(job_ids, self._blame, carried, is_first=is_first)
            lonely = self._to_run_alone(job_ids) if done < len(job_ids) else ()
        finally:
            self._room.end_chunk()
        return done + sum(self._run_alone(job_id, carried) for job_id in lonely)

    def stop(self) -> None:
        """Begin nothing new: jobs whose call has not begun are handed back. Safe in a signal
        handler, which may have interrupted a thread that holds a lock.
        """
        self._room.close()
        self._loop.call_soon_threadsafe(self._room.wake)

    def let_go(self) -> None:
        """Wait no longer for calls in flight: their jobs stay claimed, and when the lease is over
        the rescuer charges them as unconfirmed.
        """
        asyncio.run_coroutine_threadsafe(self._leave_calls(), self._loop)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Whether all chunks in hand ended within that time."""
        return self._room.wait_until_idle(timeout_s)

    def renew(self) -> None:
        """Renew the leases of this process's claims; call it every sixth of a lease."""
        self._leases.renew()

    def note_called_off(self, connection: Connection) -> None:
        """Learn which batches were called off: of these nothing more is begun."""
        ending = batches.open_batches(connection, BatchStatus.CANCELLING, BatchStatus.FINALIZING)
        self._called_off = {
            row.number: (
                JobStatus.CANCELLED if row.status == BatchStatus.CANCELLING else JobStatus.EXPIRED
            )
            for row in ending
        }

    # In a Celery thread -------------------------------------------------------------------------

    def _run_claimed(
        self,
        job_ids: Sequence[int],
        sparing: BlameRule | None = None,
        carried: Carried | None = None,
        *,
        is_first: bool = False,
    ) -> int:
        """Gives back the room that was taken for the jobs: each one's when it ends."""
        token = claim_token(self._marks.claimant)
        claims = [(job_id, token) for job_id in job_ids] if is_first else []
        taken = len(job_ids)
        try:
            claimed = self._read_ahead(claims) if is_first else None
            claimed = claimed or self._claim(job_ids, token, sparing)
            if claimed is None:
                return 0
            running = self._submit(self._run_all(claimed, carried))
            self._room.leave(taken - len(claimed.jobs))
            taken = 0
            if is_first:
                self._claim_what_waits(claims, running)
            running.result()
            return len(claimed.jobs)
        finally:
            self._room.leave(taken)
            self._pending.settle(claims)
            self._leases.end(token)

    def _to_run_alone(self, job_ids: Sequence[int]) -> Sequence[int]:
        with self._database.reading() as connection:
            return job_claims.to_run_alone(connection, job_ids, self._blame)

    def _run_alone(self, job_id: int, carried: Carried | None) -> int:
        with self._room.alone() as entered:
            return self._run_claimed([job_id], carried=carried) if entered else 0

    def _read_ahead(self, claims: Sequence[Claim]) -> ClaimedChunk | None:
        """Jobs that are claimed with their first writes; None where others have begun some."""
        token = claims[0][1]
        with self._database.reading() as connection:
            job_ids = [job_id for job_id, _ in claims]
            found = self._reading.read_untouched(connection, job_ids, token)
        if found is not None:
            self._leases.begin(token)
            self._pending.promise(claims)
            reach(FaultPoint.AFTER_READ)
        return found

    def _claim_what_waits(
        self, claims: Sequence[Claim], running: "concurrent.futures.Future[None]"
    ) -> None:
        """Claim jobs by themselves that wait long for their turn or for money, before they have
        written anything: a message that nobody takes is sent again.
        """
        with suppress(TimeoutError):
            running.exception(_UNCLAIMED_S)
        if not self._pending.are_any(claims):
            return
        try:
            with self._database.transaction() as connection:
                self._pending.make(connection, claims, utc_now())
            self._pending.settle(claims)
        except UnavailableError as error:
            log.warning("a job is claimed with its first write after all", reason=error.message)

    def _claim(
        self, job_ids: Sequence[int], token: str, sparing: BlameRule | None
    ) -> ClaimedChunk | None:
        with self._database.transaction() as connection:
            until = self._leases.begin(token)
            if not job_claims.claim(connection, job_ids, token, until, sparing=sparing):
                return None
        while True:
            try:
                with self._database.reading() as connection:
                    claimed = self._reading.read(connection, job_ids, token)
            except UnavailableError as error:
                # They are ours by now, and the heart keeps them so.
                log.warning("a claim waits for the database", reason=error.message)
                time.sleep(_READ_AGAIN_S)
            else:
                reach(FaultPoint.AFTER_CLAIM)
                return claimed

    def _submit(self, work: Coroutine[Any, Any, ResultT]) -> "concurrent.futures.Future[ResultT]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # In the loop --------------------------------------------------------------------------------

    async def _run_all(self, claimed: ClaimedChunk, carried: Carried | None) -> None:
        # A task takes over the context it is made in, so every record from here on names the batch.
        structlog.contextvars.bind_contextvars(batch=claimed.batch.id)
        if carried is not None:
            batch = claimed.batch
            trace = carried.claimed(batch.id, is_awaited=batch.is_awaited)
            claimed = replace(claimed, trace=trace)
        try:
            async with asyncio.TaskGroup() as group:
                for place, job in enumerate(claimed.jobs, start=1):
                    story = None
                    if not job.deaths:
                        earlier = claimed.earlier.get(job.id, ())
                        story = self._pipeline.decide_ahead(job, claimed.batch, earlier)
                    group.create_task(self._run_one(job, claimed, story))
                    if place % _DECIDED_AT_ONCE == 0:
                        await asyncio.sleep(0)
        finally:
            if claimed.trace is not None:
                claimed.trace.end(len(claimed.jobs))

    async def _leave_calls(self) -> None:
        if self._under_way:
            log.warning("calls were left at the end of the grace time", jobs=len(self._under_way))
        await stopped(*self._under_way)

    async def _run_one(self, job: ClaimedJob, claimed: ClaimedChunk, story: Story | None) -> None:
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
            await asyncio.to_thread(self._blame_on, job)
        finally:
            self._slots.end()
            if trace is not None:
                trace.end()
            self._room.leave(1)

    def _blame_on(self, job: ClaimedJob) -> None:
        try:
            with self._database.transaction() as connection:
                job_claims.blame(connection, job.id, job.claim_token)
        except Exception:
            log.exception("a job was given up and is not blamed for it")

    async def _run_to_rest(
        self, job: ClaimedJob, claimed: ClaimedChunk, trace: JobTrace | None, story: Story | None
    ) -> None:
        """What `let_go` may cancel: from here on a call may be in flight."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a job runs in a task of its own")
        self._under_way.add(task)
        try:
            earlier = claimed.earlier.get(job.id, ())
            work = self._pipeline.run(job, claimed.batch, earlier, trace, story)
            if job.deaths:
                work = self._marks.around(Mark(job.id, job.claim_token), work)
            await work
        finally:
            self._under_way.discard(task)
