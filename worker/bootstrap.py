"""The composition root of a worker process: everything is made here, once, and wired together.

The process has Celery's threads, one event loop in a thread of its own that all jobs run on, one
recorder thread that writes, and one heart that renews the leases.
"""

import asyncio
import concurrent.futures
import itertools
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog
import uvloop
from redis.asyncio import Redis

from shared.budget.coalescer import Coalescer
from shared.budget.ledger import AsyncLedger, Ledger
from shared.catalog.keys import resolve_keys
from shared.catalog.loader import load_catalog
from shared.catalog.spec import Catalog
from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import attempts, workers
from shared.deciding.classification.plugged import Classifiers
from shared.deciding.project_policy import policy_of
from shared.ids import claimant_id
from shared.redis_client import connect, connect_async
from shared.settings import Settings
from shared.tallies import Posting, keep_posted
from shared.tracing import begin_tracing
from worker.answer_cache import AnswerCache
from worker.asking import Asking
from worker.call_slots import CallSlots
from worker.chunk_reading import ChunkReading
from worker.chunk_runner import ChunkRunner
from worker.figures import WorkerFigures, serve_own
from worker.giving_way import give_way
from worker.heart import Heart
from worker.learned_routing import LearnedRouting
from worker.ledger_opening import LedgerOpener
from worker.metering import Meter
from worker.pending_claims import PendingClaims
from worker.pipeline import Pipeline
from worker.providers.caller import ModelCaller
from worker.recording import Recorder
from worker.speaking import Speaker
from worker.work_marks import WorkMarks

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")

_BATCH_WAIT_S, _CHAT_WAIT_S = 15.0, 5.0
"""How long a call waits in the process for its turn at a rate limit: as a batch's, three processes'
stock of waiting calls; as a chat's, what a person bears."""
_GRACE_OF_CALLS = 0.8
_MARK_WAIT_S = 0.5
"""For Redis to take the mark of a job in hand; the loop stands still meanwhile."""


@dataclass(frozen=True, slots=True)
class _InLoop:
    """What lives in the event loop."""

    redis: Redis
    caller: ModelCaller
    money: Coalescer
    recorder: Recorder
    cache: AnswerCache
    marks: WorkMarks
    runner: ChunkRunner

    async def aclose(self) -> None:
        """Write what is still to be written, then let go: the order of the bracket backwards."""
        await self.recorder.aclose()
        await self.cache.aclose()
        await self.money.aclose()
        await self.caller.aclose()
        await self.redis.aclose()
        self.marks.close()


class WorkerProcess:
    """What a running worker process is made of; `runner` does its work."""

    def __init__(self, settings: Settings, node: str, *, for_batches: bool) -> None:
        """Make everything and start the loop and the heart.

        Raises ConfigurationError for settings or a catalog that cannot work.
        """
        catalog = load_catalog(settings.catalog, os.environ, simulator_url=settings.simulator_url)
        self._settings = settings
        self._node = node
        self._started_at = utc_now()
        url = settings.resolved_database_url
        self.database = Database(url, for_batches=for_batches, by_keys=True)
        # The recorder's statements are made for many rows and large: one connection keeps them.
        self.recording = Database(url, pool_size=1, for_batches=for_batches, by_keys=True)
        self._redis = connect(settings)
        self._loop, self._thread = _start_loop()
        opener = LedgerOpener(self.database, Ledger(self._redis))
        self.figures = figures = WorkerFigures()
        self.tracing = begin_tracing(
            "promptmill-worker", job_share=settings.trace_jobs, sent_to=settings.trace_sent_to
        )
        turn_wait_s = _BATCH_WAIT_S if for_batches else _CHAT_WAIT_S
        part = attempts.sums_part(node) if for_batches else 0
        recorder = partial(Recorder, self.recording, part=part)
        making = _make(settings, catalog, self.database, recorder, opener, figures, turn_wait_s)
        self._in_loop = _run_in(self._loop, making).result(timeout=30)
        self.runner = self._in_loop.runner
        if for_batches and self.database.is_sqlite:  # the whole process does on PostgreSQL
            self._loop.call_soon_threadsafe(give_way, settings.batch_niceness)
        self._posting = Posting(settings.metrics_dir, figures.tallies)
        self._served = serve_own(settings.metrics_port, figures.tallies)
        self._posted = _run_in(self._loop, keep_posted(self._posting, figures.lag))
        self._beats = itertools.count()
        self._heart = Heart(self._beat, settings.lease_s / 6)
        self._heart.start()

    def begin_to_stop(self) -> None:
        """Begin nothing new, and wait for calls in flight for most of the grace time only: the
        rest of it is for writing down what they brought. Safe in a signal handler.
        """
        self.runner.stop()
        self._loop.call_soon_threadsafe(
            self._loop.call_later, self._settings.grace_s * _GRACE_OF_CALLS, self.runner.let_go
        )

    def close(self) -> None:
        """Finish what is under way, write it, and let everything go. Call it once."""
        self.runner.stop()
        _run_in(self._loop, self._in_loop.aclose()).result(timeout=self._settings.grace_s)
        self._heart.stop()
        self._posted.cancel()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
        self._posting.close()
        if self._served is not None:
            self._served.shutdown()
            self._served.server_close()
        self._redis.close()
        self.database.close()
        self.recording.close()
        if self.tracing is not None:
            self.tracing.close()

    def _beat(self) -> None:
        self.runner.renew()
        if next(self._beats) % 2:
            return
        with self.database.transaction() as connection:
            self.runner.note_called_off(connection)
            workers.beat(
                connection,
                self._node,
                "worker",
                self._started_at,
                utc_now(),
                self.runner.unfinished,
            )


def build(settings: Settings, *, node: str = "", for_batches: bool = False) -> WorkerProcess:
    """A worker process, running; `node` is the name it is seen under. for_batches: nobody waits for
    its jobs on an open connection, so it lets others go first at the database.
    """
    name = node or f"{socket.gethostname()}:{os.getpid()}"
    return WorkerProcess(settings, name, for_batches=for_batches)


async def _make(
    settings: Settings,
    catalog: Catalog,
    database: Database,
    recorder_over: Callable[[PendingClaims], Recorder],
    opener: LedgerOpener,
    figures: WorkerFigures,
    turn_wait_s: float,
) -> _InLoop:
    """The parts that live in the loop."""
    redis = connect_async(settings)
    keys = {
        name: resolve_keys(provider, os.environ) for name, provider in catalog.providers.items()
    }
    caller = ModelCaller.over(catalog, keys, redis, max_wait_s=turn_wait_s)
    money = Coalescer(AsyncLedger(redis))
    pending = PendingClaims(settings.lease_s)
    recorder = recorder_over(pending)
    slots = CallSlots(settings.max_in_flight)
    cache = AnswerCache(redis, catalog.digest)
    meter = Meter(caller, money, recorder, opener, slots, figures)
    pipeline = Pipeline(
        catalog,
        Classifiers(settings.classifiers, settings.difficulties),
        Asking(catalog, caller, meter),
        meter,
        Speaker(redis),
        cache,
        figures,
        patience_s=settings.patience_s,
    )
    reading = ChunkReading(
        lambda routing: policy_of(catalog.routing, routing), LearnedRouting(catalog, clock=utc_now)
    )
    marks = WorkMarks(connect(settings, timeout_s=_MARK_WAIT_S), claimant_id())
    runner = ChunkRunner(
        database,
        pipeline,
        asyncio.get_running_loop(),
        reading,
        pending,
        marks,
        slots=slots,
        lease_s=settings.lease_s,
        max_deaths=settings.max_deaths,
    )
    return _InLoop(redis, caller, money, recorder, cache, marks, runner)


def _start_loop() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="jobs", daemon=True)
    thread.start()
    return loop, thread


def _run_in(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, ResultT]
) -> "concurrent.futures.Future[ResultT]":
    return asyncio.run_coroutine_threadsafe(work, loop)
