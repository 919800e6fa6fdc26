"""Group commit: what all jobs of a process want written goes down together.

While one transaction is under way, and for some milliseconds after it began, the next one's writes
gather: a single write after a pause waits for nobody, and a thousand share a few commits. Each
`Write` is in one transaction as a whole: an attempt's price, the job's end, the batch's counts and
the event that announces its end become true together or not at all. A claim that is still to be
made is part of its job's first write (`worker.pending_claims`).

A database that does not answer is waited for: a paid answer is never thrown away. Writes that were
committed but whose answer was lost are made again; every verb allows that. Weakness: a process
that is killed while it waits loses what it holds, and the rescuer charges those attempts at their
reservations.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from shared.clock import utc_now
from shared.db.engine import Connection, Database
from shared.db.repositories import attempts, batch_moves, duplicates, job_claims, outbox
from shared.db.repositories.attempts import Closing, Intent
from shared.db.repositories.batch_moves import Progress
from shared.db.repositories.duplicates import Family
from shared.domain.job import batch_number_of
from shared.domain.values import made_often
from shared.errors import UnavailableError
from shared.fault_points import FaultPoint, reach
from worker.pending_claims import Claim, PendingClaims
from worker.rows_ahead import RowsAhead, rows_ahead

log = structlog.get_logger(__name__)

MAX_WRITES = 500
_RETRY_S = 0.5


@made_often(frozen=True, slots=True)
class Finish:
    """The job ends: `row` is its row in `results`, whose status is the job's end.

    family: the batch whose duplicates of this job take the same end; None where it has none.
    """

    row: Mapping[str, Any]
    family: Family | None = None


@dataclass(frozen=True, slots=True)
class Park:
    """The job is held until `scope` (in its text form) can carry `need_nusd`."""

    scope: str
    need_nusd: int
    reason: str
    decision: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class HandBack:
    """The job goes back to the queue, not before `run_after`.

    waiting_since: since when it waits for providers that are down; None where it does not.
    """

    run_after: datetime | None
    reason: str | None
    waiting_since: datetime | None
    decision: Mapping[str, Any] | None


Move = Finish | Park | HandBack


@dataclass(frozen=True, slots=True)
class Event:
    """What is announced in the transaction that makes it true."""

    project_id: str
    type: str
    data: Mapping[str, Any]


@made_often(frozen=True, slots=True)
class Write:
    """What one job wants written in one transaction, under its claim.

    Closings are written whoever holds the job by now, for the money was spent; the intent and the
    move only while the claim is still this one.
    """

    job_id: int
    claim_token: str
    intent: Intent | None = None
    closings: tuple[Closing, ...] = ()
    move: Move | None = None
    events: tuple[Event, ...] = ()

    @property
    def claim(self) -> Claim:
        """The job and the token under which this is written."""
        return self.job_id, self.claim_token


class Recorder:
    """The process's one writer; `write` may be called from its event loop only."""

    def __init__(
        self,
        database: Database,
        pending: PendingClaims,
        *,
        part: int = 0,
        interval_s: float = 0.02,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """pending: claims to be made with the first write under them. part: of the sums of money,
        which this process adds to (`sums_part`). interval_s: from one transaction's beginning to
        the next one's, at least.
        """
        self._database = database
        self._pending = pending
        self._part = part
        self._interval_s = interval_s
        self._clock = clock
        self._next_at = 0.0
        self._closing = False
        self._waiting: list[tuple[Write, asyncio.Future[bool]]] = []
        self._pump: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recorder")
        # It begins now, with the niceness of a thread that has not given way yet.
        self._thread.submit(_begin)

    async def write(self, write: Write) -> bool:
        """Durable when it returns. False: the claim was lost, so only closings were
        written (always False for a write of closings alone).

        Raises what the database says of a write that it can never take.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, future))
        if self._pump is None:
            self._pump = asyncio.create_task(self._run())
        # A waiter that is cancelled takes nothing back: what was paid for is written.
        return await future

    async def aclose(self) -> None:
        """Return when everything taken in is durable."""
        self._closing = True
        while self._pump is not None:
            await asyncio.shield(self._pump)
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                await self._gather()
                self._next_at = loop.time() + self._interval_s
                taken, self._waiting = self._waiting[:MAX_WRITES], self._waiting[MAX_WRITES:]
                outcomes = await loop.run_in_executor(
                    self._thread, self._commit_until_done, [write for write, _ in taken]
                )
                for (_, future), outcome in zip(taken, outcomes, strict=True):
                    if future.done():  # its waiter was cancelled
                        continue
                    if isinstance(outcome, Exception):
                        future.set_exception(outcome)
                    else:
                        future.set_result(outcome)
        finally:
            self._pump = None

    async def _gather(self) -> None:
        """What is not full waits for its turn: many small transactions cost much more."""
        pause = self._next_at - asyncio.get_running_loop().time()
        if pause > 0 and len(self._waiting) < MAX_WRITES and not self._closing:
            await asyncio.sleep(pause)

    def _commit_until_done(self, writes: Sequence[Write]) -> list[bool | Exception]:
        while True:
            try:
                return self._commit_or_split(writes)
            except UnavailableError as error:
                log.warning("recording waits for the database", reason=error.message)
                time.sleep(_RETRY_S)

    def _commit_or_split(self, writes: Sequence[Write]) -> list[bool | Exception]:
        """One transaction; where the database refuses a value, each write in its own, so that
        one answer that cannot be stored does not hold up its neighbours.
        """
        try:
            ahead = _ahead(writes, is_sqlite=self._database.is_sqlite)
            with self._database.transaction() as connection:
                now = self._clock()
                made = self._pending.make(connection, (write.claim for write in writes), now)
                held = apply(connection, writes, ahead, now, self._part, made)
                _reach_commit(writes)
            self._pending.settle(write.claim for write in writes)
            return [write.claim in held for write in writes]
        except UnavailableError:
            raise
        except Exception as error:
            if len(writes) == 1:
                log.exception("a write was refused", job=writes[0].job_id)
                return [error]
            return [self._commit_or_split([write])[0] for write in writes]


def _begin() -> None:
    """Does nothing, in the thread that is to be there."""


def _reach_commit(writes: Sequence[Write]) -> None:
    if any(write.intent for write in writes):
        reach(FaultPoint.BEFORE_INTENT_COMMIT)
    if any(write.closings for write in writes):
        reach(FaultPoint.BEFORE_RECORDING_COMMIT)


def _ahead(writes: Sequence[Write], *, is_sqlite: bool) -> RowsAhead:
    return rows_ahead(
        {place: w.intent for place, w in enumerate(writes) if w.intent is not None},
        [closing for write in writes for closing in write.closings],
        {place: w.move.row for place, w in enumerate(writes) if isinstance(w.move, Finish)},
        is_sqlite=is_sqlite,
    )


def apply(
    connection: Connection,
    writes: Sequence[Write],
    ahead: RowsAhead,
    now: datetime,
    part: int = 0,
    made: Collection[Claim] = (),
) -> set[Claim]:
    """Make the writes in the caller's transaction; returns the claims that still held. made: those
    that were made in it, so that nobody else can have the jobs.

    Order: claims are checked and locked first, then intents, prices, moves, duplicates of what
    ended, and last the rows that many transactions want, each kind in rising order: the sums of
    money, then the batches'.
    """
    claims = {write.claim for write in writes if write.intent or write.move}
    asked = claims.difference(made)
    held = job_claims.still_claimed(connection, asked) if asked else set()
    held |= claims.intersection(made)
    attempts.open_rows(
        connection, [row for place, row in ahead.intents.items() if writes[place].claim in held]
    )
    closings = [closing for write in writes for closing in write.closings]
    priced = attempts.price(connection, closings, ahead.closings)
    moved = [write for write in writes if write.move is not None and write.claim in held]
    ends = [row for place, row in ahead.ends.items() if writes[place].claim in held]
    job_claims.finish(connection, ends)
    _move(connection, moved)
    shared = _share(connection, moved, now)
    for write in moved:
        for event in write.events:
            outbox.add(connection, event.project_id, event.type, event.data, now)
    progress = attempts.add_sums(connection, priced, part)
    for number, ended in (*_ended(moved).items(), *shared):
        progress[number] = progress.get(number, Progress()) + ended
    if progress:
        batch_moves.add_progress(connection, progress, now)
    return held


def _move(connection: Connection, writes: Sequence[Write]) -> None:
    parked = [
        {
            "id": w.job_id,
            "held_scope": w.move.scope,
            "need_nusd": w.move.need_nusd,
            "wait_reason": w.move.reason[:300],
            "decision": w.move.decision,
        }
        for w in writes
        if isinstance(w.move, Park)
    ]
    if parked:
        job_claims.park(connection, parked)
    returned = [
        {
            "id": w.job_id,
            "run_after": w.move.run_after,
            "wait_reason": w.move.reason[:300] if w.move.reason else None,
            "waiting_since": w.move.waiting_since,
            "decision": w.move.decision,
        }
        for w in writes
        if isinstance(w.move, HandBack)
    ]
    if returned:
        job_claims.hand_back(connection, returned)


def _share(
    connection: Connection, writes: Sequence[Write], now: datetime
) -> list[tuple[int, Progress]]:
    """Let duplicates have the ends of the jobs they wait for; what is left the maintenance does."""
    families: dict[Family, list[int]] = {}
    for write in writes:
        if isinstance(write.move, Finish) and write.move.family is not None:
            families.setdefault(write.move.family, []).append(write.job_id)
    return [
        (family.number, duplicates.share(connection, family, now, ended=ended))
        for family, ended in families.items()
    ]


def _ended(writes: Sequence[Write]) -> dict[int, Progress]:
    counts: dict[int, dict[str, int]] = {}
    for write in writes:
        if isinstance(write.move, Finish):
            status = write.move.row["status"]
            own = counts.setdefault(batch_number_of(write.job_id), {})
            own[status] = own.get(status, 0) + 1
    return {number: Progress(**own) for number, own in counts.items()}
