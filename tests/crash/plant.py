"""A whole mill of real processes on real servers, whose parts a test may kill, stop and starve.

Workers are `celery -A worker.app worker`, the repairers `python -m worker.maintenance`; the test
itself only puts batches into the database, waits for events, and looks.
"""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from sqlalchemy import func, select, text, update

from producer.local.ports import claim_port
from producer.local.processes import ChildProcess, start_child
from shared.budget.ledger import Ledger
from shared.chunking import ranges_text
from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import (
    awaited,
    batch_moves,
    batches,
    jobs,
    projects,
    webhook_endpoints,
)
from shared.db.repositories.batches import NewBatch
from shared.db.repositories.jobs import TakenLine
from shared.db.tables import jobs as jobs_table
from shared.db.tables import leaderships
from shared.db.tables import projects as projects_table
from shared.domain.batch import AWAITED_PREFIX, TERMINAL, Priority
from shared.domain.inference import Request
from shared.fault_points import VARIABLE
from shared.ids import new_id
from shared.queue.celery_app import make_celery_app
from shared.queue.lanes import BATCH_QUEUES
from shared.queue.messages import ChunkMessage
from shared.queue.publisher import Publisher
from shared.redis_client import connect
from shared.settings import Settings
from tests.mill import MODELS, asking, prices, write_catalog
from tests.servers.simulator import SimulatorServer

ON_BOTH = bool(os.environ.get("CRASH_ON_BOTH"))
PATIENCE_S = 150.0
ADMIN_KEY = "admin-key-of-these-tests-alone-0123456789"
LIMIT_NUSD = 50_000_000
"""Enough for every batch of these tests, also when all of it is charged twice."""


def questions(count: int, start: int = 1) -> list[Request]:
    """Easy questions to one model, each of its own."""
    return [
        asking(f"Question {n}: what is {n} + 1?", model="tiny", max_tokens=40)
        for n in range(start, start + count)
    ]


def on_databases(cases: Sequence[Any], *, first: str = "sqlite") -> list[Any]:
    """Each case with a database, in turn, for the time that real processes take to start; with
    CRASH_ON_BOTH set in the environment, each case on both. Indirect: `database_url`.
    """
    databases = ("sqlite", "postgres") if first == "sqlite" else ("postgres", "sqlite")
    return [
        pytest.param(case, database, id=f"{_name_of(case)}-{database}")
        for place, case in enumerate(cases)
        for database in (databases if ON_BOTH else (databases[place % 2],))
    ]


def on_one_database(name: str) -> list[str]:
    """This one; with CRASH_ON_BOTH, both."""
    return ["sqlite", "postgres"] if ON_BOTH else [name]


def _name_of(case: Any) -> str:
    return str(case.point.value) if hasattr(case, "point") else str(case)


class Plant:
    """`close` kills whatever still runs. `without`: what processes started from now on leave out
    (`tests.servers.crippled_maintenance`); None: they are the ones of every day.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        redis_url: str,
        simulator: SimulatorServer,
        *,
        chunk_size: int = 5,
    ) -> None:
        self.folder = folder
        self.simulator = simulator
        simulator.set_prices(prices())
        self.settings = Settings(
            _env_file=None,
            home=folder / "home",
            database_url=database_url,
            redis_url=redis_url,
            catalog=write_catalog(folder / "catalog.toml", simulator.url),
            chunk_size=chunk_size,
        )
        self.database = Database(self.settings.resolved_database_url, pool_size=2)
        self.redis: Redis = connect(self.settings)
        self.ledger = Ledger(self.redis)
        self.children: list[ChildProcess] = []
        self.numbers: list[int] = []
        self.without: str | None = None

    def close(self) -> None:
        for child in self.children:
            child.kill()
        self.redis.close()
        self.database.close()

    # Processes ----------------------------------------------------------------------------------

    def start_worker(
        self,
        name: str,
        *,
        threads: int = 2,
        app: str = "",
        fault: str = "",
        queues: Sequence[str] = BATCH_QUEUES,
        **changes: Any,
    ) -> ChildProcess:
        """Returns at once; see `wait_until_ready`. An armed one is whole, whatever is left out."""
        is_crippled = bool(self.without) and not fault
        usual = "tests.servers.one_at_a_time" if changes.get("max_in_flight") == 1 else "worker.app"
        app = app or ("tests.servers.crippled_worker" if is_crippled else usual)
        options = ["-P", "threads", "-c", str(threads), "-n", f"{name}@crash"]
        options += ["-Q", ",".join(queues), "--without-mingle", "--without-gossip"]
        command = [sys.executable, "-m", "celery", "-A", app, "worker", *options]
        self._ready(name).unlink(missing_ok=True)
        return self._start(name, command, fault, changes)

    def start_maintenance(
        self, name: str = "maintenance", *, fault: str = "", module: str = "", **changes: Any
    ) -> ChildProcess:
        """An armed one is whole, whatever is left out. It soon knows the database for unbroken."""
        changes = {"lease_s": 2, **changes}
        is_crippled = self.without is not None and not fault
        usual = "tests.servers.crippled_maintenance" if is_crippled else "worker.maintenance"
        module = module or usual
        return self._start(name, [sys.executable, "-m", module], fault, changes)

    def start_api(self, name: str, *, fault: str = "", **changes: Any) -> tuple[ChildProcess, str]:
        """An API process that answers, and its address; its admin key is `ADMIN_KEY`."""
        port = claim_port(0, "--port")
        child = self.launch_api(name, port, fault=fault, **changes)
        url = f"http://127.0.0.1:{port}"
        self.wait_for(lambda: _answers(url), f"{name} answers")
        return child, url

    def launch_api(self, name: str, port: int, *, fault: str = "", **changes: Any) -> ChildProcess:
        """Returns at once."""
        command = [sys.executable, "-m", "producer.api", "--port", str(port)]
        return self._start(name, command, fault, {"admin_key": ADMIN_KEY, **changes})

    def wait_until_ready(self, *workers: ChildProcess) -> None:
        """They have connected to the broker and consume."""
        for worker in workers:
            self.wait_for(lambda w=worker: self._ready(w.name).exists(), f"{worker.name} is ready")  # type: ignore[misc]

    def _ready(self, name: str) -> Path:
        return self.folder / f"{name}.ready"

    def _start(
        self, name: str, command: list[str], fault: str, changes: dict[str, Any]
    ) -> ChildProcess:
        settings = {
            "HOME": self.settings.home,
            "DATABASE_URL": self.settings.database_url,
            "REDIS_URL": self.settings.redis_url,
            "CATALOG": self.settings.catalog,
            "CHUNK_SIZE": self.settings.chunk_size,
            "READY_FILE": self._ready(name),
            "WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8",
            "MAX_DEATHS": 20,
            **{key.upper(): value for key, value in changes.items()},
        }
        env = {f"PROMPTMILL_{key}": str(value) for key, value in settings.items()}
        keys = {
            f"{provider.upper()}_API_KEY": f"key-of-{provider}" for provider, *_ in MODELS.values()
        }
        if fault:
            env[VARIABLE] = fault
        if self.without:
            env["CRASH_WITHOUT"] = self.without
        child = start_child(
            name, command, env=os.environ | env | keys, log=self.folder / f"{name}.log"
        )
        self.children.append(child)
        return child

    def stop_between_writes(self, child: ChildProcess) -> None:
        """SIGSTOP, at a moment at which it does not hold SQLite's one write lock."""
        stop(child)
        while self.is_locked():
            resume(child)
            time.sleep(0.05)
            stop(child)

    def is_locked(self) -> bool:
        """Whether somebody holds SQLite's write lock and does not let go of it."""
        if not self.database.is_sqlite:
            return False
        with closing(sqlite3.connect(self.database.engine.url.database or "", timeout=2)) as own:
            try:
                own.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            own.rollback()
        return False

    def wait_for_end_of(self, child: ChildProcess) -> int:
        """Its exit code; negative where a signal ended it."""
        self.wait_for(lambda: not child.is_alive, f"{child.name} ends")
        assert child.exit_code is not None
        return child.exit_code

    def all_must_live(self) -> None:
        """Fails with the exit codes and last words of those that ended."""
        ended = [child for child in self.children if not child.is_alive]
        words = (f"--- {c.name} ended with {c.exit_code}\n{c.log_tail(60)}" for c in ended)
        assert not ended, "\n".join(words)

    def wait_for(
        self, question: Callable[[], object], what: str, patience_s: float = PATIENCE_S
    ) -> None:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if question():
                return
            time.sleep(0.03)
        logs = "\n".join(f"--- {child.name}\n{child.log_tail(25)}" for child in self.children)
        raise AssertionError(f"never happened: {what}\n{logs}")

    # Work ---------------------------------------------------------------------------------------

    def project(self, name: str = "acme", limit_nusd: int | None = LIMIT_NUSD) -> None:
        limits = dict.fromkeys(("day", "month", "total"), limit_nusd)
        row = {f"{window}_limit_nusd": limit for window, limit in limits.items()}
        with self.database.transaction() as connection:
            projects.create(connection, name, utc_now())
            connection.execute(
                update(projects_table).where(projects_table.c.id == name).values(**row)
            )

    def submit(
        self,
        requests: Sequence[Request],
        project: str = "acme",
        *,
        max_cost_nusd: int | None = LIMIT_NUSD,
        limit_nusd: int | None = LIMIT_NUSD,
        each_times: int = 1,
    ) -> int:
        """Put a batch into the database as the intake does; returns its number. each_times: so many
        lines ask the same.
        """
        with self.database.reading() as connection:
            known = projects.get(connection, project) is not None
        if not known:
            self.project(project, limit_nusd)
        now = utc_now()
        new = NewBatch(
            new_id("batch"),
            project,
            "0" * 64,
            Priority.BATCH,
            "24h",
            now,
            now + timedelta(days=1),
            max_cost_nusd=max_cost_nusd,
        )
        asked = len(requests)
        lines = [
            TakenLine(
                i + 1,
                f"c{i + 1}",
                requests[i % asked].to_json().decode(),
                duplicate_of=None if i < asked else i % asked + 1,
            )
            for i in range(asked * each_times)
        ]
        with self.database.transaction() as connection:
            number = batches.create(connection, new)
            jobs.insert_lines(connection, number, lines, now)
            batches.add_taken(
                connection, number, lines=len(lines), rejected=0, duplicates=len(lines) - asked
            )
            batch_moves.seal(connection, number, now)
        self.numbers.append(number)
        return number

    def publish(self, number: int, lines: int) -> None:
        """Send a batch's messages, as the stager does."""
        size = self.settings.chunk_size
        ranges = (range(first, min(first + size, lines + 1)) for first in range(1, lines + 1, size))
        batch = self.batch(number)
        messages = [ChunkMessage(batch.id, number, ranges_text(some)) for some in ranges]
        with closing(make_celery_app(self.settings)) as app:
            Publisher(app).publish(messages, batch.project_id, Priority.BATCH)

    def chat(self, requests: Sequence[Request], project: str = "acme") -> int:
        """Begin a conversation as the API does, its message out; returns its batch's number."""
        with self.database.reading() as connection:
            known = projects.get(connection, project) is not None
        if not known:
            self.project(project)
        now = utc_now()
        new = NewBatch(
            new_id(AWAITED_PREFIX),
            project,
            "0" * 64,
            Priority.INTERACTIVE,
            "1h",
            now,
            now + timedelta(hours=1),
        )
        lines = [request.to_json().decode() for request in requests]
        with self.database.transaction() as connection:
            number = awaited.open_batch(connection, new, lines, now + timedelta(seconds=57))
        self.numbers.append(number)
        with closing(make_celery_app(self.settings)) as app:
            message = ChunkMessage(new.id, number, ranges_text(range(1, len(lines) + 1)))
            Publisher(app).publish([message], project, Priority.INTERACTIVE, is_first=True)
        return number

    def endpoint(
        self, url: str, secret: str, project: str = "acme", limit_nusd: int | None = LIMIT_NUSD
    ) -> None:
        """A receiver of this project's batch events."""
        self.project(project, limit_nusd)
        with self.database.transaction() as connection:
            row, _ = webhook_endpoints.create(connection, project, url, "test", None, utc_now())
            connection.execute(
                text("UPDATE webhook_endpoints SET secret = :secret WHERE id = :id"),
                {"secret": secret, "id": row.id},
            )

    def wait_for_batch(self, number: int, patience_s: float = PATIENCE_S) -> None:
        def why() -> str:
            return f"batch {number} ends; its jobs: {self.statuses(number)}"

        try:
            self.wait_for(lambda: self.has_ended(number), "", patience_s)
        except AssertionError as error:
            raise AssertionError(f"{why()}{error}") from None

    # Looking ------------------------------------------------------------------------------------

    def batch(self, number: int) -> Any:
        with self.database.reading() as connection:
            row = batches.by_number(connection, number)
        assert row is not None
        return row

    def has_ended(self, number: int) -> bool:
        return self.batch(number).status in TERMINAL

    def statuses(self, number: int) -> dict[str, int]:
        query = (
            select(jobs_table.c.status, func.count().label("jobs"))
            .where(jobs_table.c.id.between(*batches.id_range(number)))
            .group_by(jobs_table.c.status)
        )
        with self.database.reading() as connection:
            return {row.status: row.jobs for row in connection.execute(query)}

    def count(self, number: int, status: str) -> int:
        return self.statuses(number).get(status, 0)

    def rows(self, statement: str, **values: Any) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(text(statement), values).all())

    def execute(self, statement: str, **values: Any) -> None:
        with self.database.transaction() as connection:
            connection.execute(text(statement), values)

    def pass_the_leadership_on(self) -> None:
        """The dead leader's lease is over: spares the test its ten seconds."""
        past = utc_now() - timedelta(seconds=1)
        with self.database.transaction() as connection:
            connection.execute(update(leaderships).values(until=past))


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", trust_env=False, timeout=5).is_success
    except httpx.TransportError:
        return False


def stop(child: ChildProcess) -> None:
    """SIGSTOP: it hangs."""
    os.kill(child.pid, signal.SIGSTOP)


def resume(child: ChildProcess) -> None:
    """SIGCONT."""
    os.kill(child.pid, signal.SIGCONT)
