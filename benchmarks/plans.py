"""`python -m benchmarks.plans [--jobs N] [--sqlite]`: what each reading costs in a large database.

Makes a database of N jobs (a million) that has been in use for long and asks it everything that
listings, the stager, the rescuer and the other repairers ask. Prints for each statement how it is
answered and how many rows were read for it: a figure that grows with what has ended is a fault.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import event

import migrations
from benchmarks.growth import PROJECT, Grown, grow
from shared.clock import utc_now
from shared.db.engine import Connection, Database
from shared.db.repositories import (
    attempts,
    batch_moves,
    batches,
    budgets,
    duplicates,
    files,
    gauges,
    holds,
    intakes,
    job_claims,
    jobs,
    outbox,
    projects,
    reconciling,
    requests,
    results,
    retention,
    staging,
    webhook_deliveries,
    workers,
)
from shared.domain.batch import BatchStatus
from shared.domain.job import JobStatus, job_id_of
from tests.servers.postgres import PostgresServer

Question = Callable[[Connection], object]


@dataclass(slots=True)
class Plan:
    """How one statement is answered. rows: read, those left out included; None on SQLite."""

    statement: str
    steps: list[str]
    rows: int | None = None


@dataclass(slots=True)
class Answer:
    """A question's plans, and how long it took, the explaining left out."""

    name: str
    seconds: float = 0.0
    plans: list[Plan] = field(default_factory=list)


def questions(grown: Grown) -> dict[str, Question]:
    """Everything that is asked again and again while a mill runs."""
    now, number = grown.now, grown.running
    old = now - timedelta(days=30)
    done = max(1, number - 1)
    some = [job_id_of(number, line) for line in range(1, 101)]
    newest = number + grown.chats
    done_job, newest_job = job_id_of(done, 0), job_id_of(number + 1, 0) - 1
    return {
        "batches: a page": lambda c: batches.page(c, PROJECT, limit=50, awaited=False),
        "batches: a later page": lambda c: batches.page(
            c, PROJECT, limit=50, before=max(2, number // 2), awaited=False
        ),
        "batches: all projects": lambda c: batches.page(c, None, limit=50, awaited=False),
        "batches: with chats": lambda c: batches.page(c, PROJECT, limit=50, before=newest),
        "batches: open ones": batches.open_batches,
        "batches: overdue": lambda c: batches.overdue(c, now),
        "batches: counts of one": lambda c: batches.counts(c, _row(c, number)),
        "results: a page": lambda c: list(results.pieces(c, done, after_line=10, limit=100)),
        "requests: a page": lambda c: requests.ended(
            c, [(done_job, newest_job)], wanted={}, limit=50
        ),
        "requests: a later page": lambda c: requests.ended(
            c,
            [(done_job, job_id_of(done, 100))],
            wanted={"status": "failed"},
            limit=50,
        ),
        "requests: searched": lambda c: requests.saying(
            c, [(done_job, job_id_of(done, 5000))], "nobody says this", 50
        ),
        "files: a page": lambda c: files.page(c, PROJECT, now, limit=50),
        "files: to be removed": lambda c: files.removable(c, now, 200),
        "files: to be read": lambda c: intakes.any_due(c, now),
        "stager: which batches": staging.batches_with_waiting_jobs,
        "stager: what is out": staging.staged,
        "stager: due jobs": lambda c: staging.stageable(c, number, now, 100),
        "worker: claim": lambda c: job_claims.claim(c, some, "t", now),
        "worker: read a claim": lambda c: job_claims.claimed(c, some, "t"),
        "worker: renew": lambda c: job_claims.renew(c, ["t30"], now),
        "rescuer: lapsed leases": lambda c: job_claims.lapsed(c, now, 100),
        "rescuer: open intents": lambda c: attempts.open_of_jobs(c, some),
        "duplicates: due": lambda c: duplicates.any_due(
            c, duplicates.Family(number, f"batch_{number}", PROJECT)
        ),
        "holds: scopes": holds.scopes,
        "holds: jobs of one": lambda c: holds.held_by(c, f"day:{PROJECT}", 100),
        "expiry: end waiting jobs": lambda c: jobs.end_waiting(
            c, number, JobStatus.EXPIRED, now, 100
        ),
        "closer: finished": lambda c: batch_moves.close_finished(c, [number], now),
        "reconciler: open scopes": reconciling.scopes_with_open_intents,
        "ledger: a window": lambda c: budgets.window_purse(c, PROJECT, "day", "2026-01-01"),
        "ledger: a batch's cap": lambda c: budgets.batch_purse(c, f"batch_{number}"),
        "relay: events": lambda c: outbox.waiting(c, 100),
        "dispatcher: due": lambda c: webhook_deliveries.due_endpoints(c, now),
        "deliveries: a page": lambda c: webhook_deliveries.page(c, "we_1", limit=50),
        "pruner: batches": lambda c: retention.ended_before(c, old, 100),
        "pruner: deliveries": lambda c: retention.delete_deliveries(c, old, 2000),
        "pruner: events": lambda c: retention.delete_events(c, old, 2000),
        "pruner: jobs of a batch": lambda c: retention.delete_jobs(c, done, 100),
        "gauges: open batches": gauges.open_batches,
        "gauges: open attempts": gauges.open_attempts,
        "gauges: events": gauges.waiting_events,
        "gauges: deliveries": gauges.pending_deliveries,
        "projects: a page": lambda c: projects.page(c, limit=50),
        "workers: alive": lambda c: workers.alive(c, old),
        "upload: last line": lambda c: jobs.last_line(c, number),
        "batches: validating": lambda c: batches.open_batches(c, BatchStatus.VALIDATING),
    }


def ask(database: Database, name: str, question: Question) -> Answer:
    """Ask within a transaction that is taken back, explaining each statement before it runs."""
    answer = Answer(name)
    with _rolled_back(database) as connection, _explained(connection, answer.plans):
        question(connection)
    with _rolled_back(database) as connection:
        began = time.perf_counter()
        question(connection)
        answer.seconds = time.perf_counter() - began
    return answer


@contextmanager
def _rolled_back(database: Database) -> Iterator[Connection]:
    with database.transaction() as connection:
        savepoint = connection.begin_nested()
        yield connection
        savepoint.rollback()


@contextmanager
def _explained(connection: Connection, plans: list[Plan]) -> Iterator[None]:
    explain = _of_sqlite if connection.dialect.name == "sqlite" else _of_postgres

    def before(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: Any) -> None:
        if not many and statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")):
            plans.append(explain(connection, statement, parameters))

    event.listen(connection, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", before)


def _of_sqlite(connection: Connection, statement: str, parameters: Any) -> Plan:
    driver: Any = connection.connection.driver_connection
    found = driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    return Plan(statement, [row[3] for row in found])


def _of_postgres(connection: Connection, statement: str, parameters: Any) -> Plan:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.execute("SAVEPOINT explaining")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        told = cursor.fetchone()[0]
        cursor.execute("ROLLBACK TO SAVEPOINT explaining")
    root = (told if isinstance(told, list) else orjson.loads(told))[0]["Plan"]
    plan = Plan(statement, [], 0)
    _walk(root, plan)
    return plan


def _walk(node: dict[str, Any], plan: Plan) -> None:
    kind = str(node["Node Type"])
    if "Scan" in kind and "Relation Name" in node:
        loops = node["Actual Loops"]
        left_out = node.get("Rows Removed by Filter", 0) + node.get(
            "Rows Removed by Join Filter", 0
        )
        read = round((node["Actual Rows"] + left_out) * loops)
        index = f" by {node['Index Name']}" if "Index Name" in node else ""
        plan.steps.append(f"{kind} {node['Relation Name']}{index}: {read}")
        plan.rows = (plan.rows or 0) + read
    elif kind == "Bitmap Index Scan":
        plan.steps.append(f"{kind} by {node['Index Name']}: {round(node['Actual Rows'])}")
    for child in node.get("Plans", ()):
        _walk(child, plan)


def _row(connection: Connection, number: int) -> Any:
    row = batches.by_number(connection, number)
    if row is None:
        raise LookupError(f"no batch {number}")
    return row


def _table(statement: str) -> str:
    return re.sub(r"\s+", " ", statement)[:100]


def _told(answer: Answer) -> Iterator[str]:
    rows = [plan.rows for plan in answer.plans if plan.rows is not None]
    read = f"{sum(rows)} rows read" if rows else ""
    yield f"{answer.name}: {answer.seconds * 1000:.1f} ms, {len(answer.plans)} statements {read}"
    for plan in answer.plans[:6]:
        yield f"    {'; '.join(plan.steps) or _table(plan.statement)}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--sqlite", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pmb-") as folder:
        if options.sqlite:
            _run(f"sqlite:///{Path(folder) / 'big.db'}", options.jobs)
            return 0
        settings = {"shared_buffers": "512MB", "listen_addresses": "", "max_wal_size": "8GB"}
        server = PostgresServer({**settings, "fsync": "off", "synchronous_commit": "off"})
        server.start()
        try:
            _run(server.url(server.create_database()), options.jobs)
        finally:
            server.remove()
    return 0


def _run(url: str, total: int) -> None:
    migrations.upgrade(url)
    database = Database(url)
    try:
        began = time.perf_counter()
        per_batch = 10_000
        chats = total // 10
        grown = grow(database, max(2, total // per_batch), per_batch, chats, utc_now())
        print(f"{total:,} jobs, {chats:,} chats in {time.perf_counter() - began:.0f} s", flush=True)
        for name, question in questions(grown).items():
            print("\n".join(_told(ask(database, name, question))), flush=True)
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main())
