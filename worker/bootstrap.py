"""The composition root of a worker process: everything is made here, once, and wired together.

The process has Celery's threads, one event loop in a thread of its own that all jobs run on, one
recorder thread that writes, and one heart that renews the leases.
"""

import asyncio
import concurrent.futures
import os
import socket
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
import uvloop

from shared.budget.coalescer import Coalescer
from shared.budget.ledger import AsyncLedger, Ledger
from shared.catalog.keys import resolve_keys
from shared.catalog.loader import load_catalog
from shared.catalog.spec import Catalog
from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import workers
from shared.deciding.classification.rules import RulesClassifier
from shared.deciding.project_policy import policy_of
from shared.redis_client import connect, connect_async
from shared.settings import Settings
from worker.asking import Asking
from worker.chunk_runner import ChunkRunner, Heart
from worker.ledger_opening import LedgerOpener
from worker.metering import Meter
from worker.pipeline import Pipeline
from worker.providers.caller import ModelCaller
from worker.recording import Recorder

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")


@dataclass(slots=True)
class WorkerProcess:
    """What a running worker process is made of."""

    settings: Settings
    database: Database
    loop: asyncio.AbstractEventLoop
    runner: ChunkRunner
    heart: Heart
    _thread: threading.Thread
    _caller: ModelCaller
    _money: Coalescer
    _recorder: Recorder

    def close(self) -> None:
        """Finish what is under way, write it, and let everything go. Call it once."""
        self.runner.stop()
        _run_in(self.loop, self._finish_up()).result(timeout=self.settings.grace_s)
        self.heart.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)
        self.database.close()

    async def _finish_up(self) -> None:
        await self._recorder.aclose()
        await self._money.aclose()
        await self._caller.aclose()


def build(settings: Settings, *, node: str = "") -> WorkerProcess:
    """Make a worker process and start its loop and heart.

    Raises ConfigurationError for settings or a catalog that cannot work.
    """
    catalog = load_catalog(settings.catalog, os.environ, simulator_url=settings.simulator_url)
    database = Database(settings.resolved_database_url)
    loop, thread = _start_loop()
    opener = LedgerOpener(database, Ledger(connect(settings)))
    caller, money, recorder, runner = _run_in(
        loop, _make(settings, catalog, database, opener)
    ).result(timeout=30)
    name = node or f"{socket.gethostname()}:{os.getpid()}"
    started = utc_now()

    def beat() -> None:
        runner.beat()
        with database.transaction() as connection:
            workers.beat(connection, name, "worker", started, utc_now(), runner.unfinished)

    heart = Heart(beat, settings.lease_s / 3)
    heart.start()
    return WorkerProcess(settings, database, loop, runner, heart, thread, caller, money, recorder)


async def _make(
    settings: Settings, catalog: Catalog, database: Database, opener: LedgerOpener
) -> tuple[ModelCaller, Coalescer, Recorder, ChunkRunner]:
    """The parts that live in the loop."""
    redis = connect_async(settings)
    keys = {
        name: resolve_keys(provider, os.environ) for name, provider in catalog.providers.items()
    }
    caller = ModelCaller.over(catalog, keys, redis)
    money = Coalescer(AsyncLedger(redis))
    recorder = Recorder(database)
    meter = Meter(caller, money, recorder, opener)
    pipeline = Pipeline(
        catalog,
        RulesClassifier(),
        Asking(catalog, caller, meter),
        meter,
        patience_s=settings.patience_s,
    )
    runner = ChunkRunner(
        database,
        pipeline,
        asyncio.get_running_loop(),
        lambda routing: policy_of(catalog.routing, routing),
        max_in_flight=settings.max_in_flight,
        lease_s=settings.lease_s,
    )
    return caller, money, recorder, runner


def _start_loop() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="jobs", daemon=True)
    thread.start()
    return loop, thread


def _run_in(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, ResultT]
) -> "concurrent.futures.Future[ResultT]":
    return asyncio.run_coroutine_threadsafe(work, loop)
