"""A chat's claim is made with its first write: what that saves, and who has it when several try."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import event, update

from shared.budget.ledger import Ledger
from shared.budget.windows import periods
from shared.clock import utc_now
from shared.db.repositories import attempts, batch_moves, jobs
from shared.db.repositories.attempts import Intent
from shared.db.tables import jobs as jobs_table
from shared.domain.attempt import Purpose
from shared.domain.job import JobStatus
from tests.mill import Mill, asking, running_mill
from tests.servers.simulator import SimulatorServer
from tests.servers.waiting import wait_for
from worker import chunk_runner
from worker.bootstrap import WorkerProcess
from worker.pending_claims import PendingClaims

CLAIM, INTENT, END = "UPDATE jobs SET status", "INSERT INTO attempts", "INSERT INTO results"
EASY = "What is the capital of France?"


@pytest.fixture
def mill(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
) -> Iterator[Mill]:
    with running_mill(tmp_path, database_url, redis_url, simulator) as running:
        yield running


@pytest.fixture
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, nothing is claimed by itself for want of a first write."""
    monkeypatch.setattr(chunk_runner, "_UNCLAIMED_S", 600.0)


@pytest.fixture
def mill_on_sqlite(
    tmp_path: Path, sqlite_url: str, redis_url: str, simulator: SimulatorServer
) -> Iterator[Mill]:
    with running_mill(tmp_path, sqlite_url, redis_url, simulator) as running:
        yield running


def reserved_nusd(client: Redis) -> int:
    ledger = Ledger(client)
    balances = ledger.balance(sorted(ledger.scopes(), key=lambda scope: scope.text))
    return max((one.reserved_nusd for one in balances if one is not None), default=0)


@contextmanager
def transactions_of(worker: WorkerProcess) -> Iterator[list[list[str]]]:
    """What each committed transaction wrote of claims, intents and ends; others are left out."""
    committed: list[list[str]] = []
    under_way: dict[int, list[str]] = {}

    def executed(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        kinds = [kind for kind in (CLAIM, INTENT, END) if statement.startswith(kind)]
        under_way.setdefault(id(connection), []).extend(kinds)

    def done(connection: Any) -> None:
        if written := under_way.pop(id(connection), []):
            committed.append(written)

    listeners: Sequence[tuple[str, Callable[..., None]]] = (
        ("before_cursor_execute", executed),
        ("commit", done),
    )
    engines = (worker.database.engine, worker.recording.engine)
    listened = [(engine, *listener) for engine in engines for listener in listeners]
    for one in listened:
        event.listen(*one)
    try:
        yield committed
    finally:
        for one in listened:
            event.remove(*one)


@pytest.mark.usefixtures("no_hurry")
def test_a_chats_claim_and_intent_are_one_commit(mill: Mill, simulator: SimulatorServer) -> None:
    with transactions_of(mill.worker) as committed:
        assert mill.worker.runner.run(mill.chat([asking(EASY)]), is_first=True) == 1
    assert [written[:2] for written in committed] == [[CLAIM, INTENT], [CLAIM, END]]
    assert mill.statuses() == {"completed": 1}
    assert simulator.bill()["calls"] == 1


@pytest.mark.usefixtures("no_hurry")
def test_a_chat_without_money_ends_in_the_commit_that_claims_it(mill_on_sqlite: Mill) -> None:
    mill = mill_on_sqlite
    ids = mill.chat([asking(EASY)], limits={"total": 1})
    with transactions_of(mill.worker) as committed:
        mill.worker.runner.run(ids, is_first=True)
    assert [written[0] for written in committed] == [CLAIM]
    assert END in committed[0]
    assert mill.statuses() == {"failed": 1}


def test_what_may_have_killed_a_worker_is_claimed_before_anything_else(
    mill_on_sqlite: Mill,
) -> None:
    mill = mill_on_sqlite
    ids = mill.chat([asking(EASY)])
    with mill.database.transaction() as connection:
        connection.execute(update(jobs_table).values(deaths=1))
    with transactions_of(mill.worker) as committed:
        assert mill.worker.runner.run(ids, is_first=True) == 1
    assert committed[:2] == [[CLAIM], [INTENT]]


def test_of_many_who_have_the_same_message_one_answers_and_no_money_stays_reserved(
    mill: Mill,
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    simulator: SimulatorServer,
    redis_client: Redis,
) -> None:
    chats = [mill.chat([asking(f"What is {n} + {n}?")]) for n in range(12)]
    together = threading.Barrier(len(chats) * 6)

    def run(runner: Any, ids: Sequence[int], is_first: bool) -> None:
        together.wait()
        runner.run(ids, is_first=is_first)

    with (
        running_mill(tmp_path, database_url, redis_url, simulator) as other,
        ThreadPoolExecutor(together.parties) as threads,
    ):
        running = [
            threads.submit(run, one.worker.runner, ids, is_first)
            for ids in chats
            for one in (mill, other)
            for is_first in (True, True, False)
        ]
        for done in running:
            done.result()
    assert mill.statuses() == {"completed": len(chats)}
    assert simulator.bill()["calls"] == len(chats) == len(mill.attempts())
    assert reserved_nusd(redis_client) == 0


def test_a_chat_that_is_called_off_before_its_first_write_is_not_asked(
    mill: Mill, simulator: SimulatorServer, redis_client: Redis
) -> None:
    (job_id,) = mill.chat([asking(EASY)])
    with ThreadPoolExecutor(1) as thread:
        with mill.database.transaction() as connection:
            now = utc_now()
            batch_moves.cancel(connection, mill.number, now)
            jobs.end_waiting(connection, mill.number, JobStatus.CANCELLED, now)
            running = thread.submit(mill.worker.runner.run, [job_id], is_first=True)
            wait_for(lambda: reserved_nusd(redis_client), "its money is reserved")
        running.result()
    assert mill.statuses() == {"cancelled": 1}
    assert simulator.bill()["calls"] == 0
    assert reserved_nusd(redis_client) == 0


def test_a_chat_that_waits_for_its_turn_is_claimed_meanwhile(
    tmp_path: Path, sqlite_url: str, redis_url: str, simulator: SimulatorServer
) -> None:
    simulator.set_scenario({"latency_ms": 400})
    with running_mill(
        tmp_path, sqlite_url, redis_url, simulator, provider_extras="max_concurrency = 1"
    ) as mill:
        chats = [mill.chat([asking(EASY, model="tiny")]) for _ in range(2)]
        with ThreadPoolExecutor(2) as threads:
            running = [threads.submit(mill.worker.runner.run, ids, is_first=True) for ids in chats]
            wait_for(lambda: mill.statuses() == {"running": 2}, "both are claimed")
            assert len(mill.attempts()) == 1
            assert [one.result() for one in running] == [1, 1]
        assert mill.statuses() == {"completed": 2}


def test_a_commit_that_is_made_again_takes_nothing_that_was_rescued(mill: Mill) -> None:
    (job_id,) = mill.chat([asking(EASY)])
    pending = PendingClaims(lease_s=15)
    claims = [(job_id, "token")]
    pending.promise(claims)

    def make() -> str:
        with mill.database.transaction() as connection:
            pending.make(connection, claims, utc_now())
        (row,) = mill.rows(jobs_table)
        return str(row.status)

    def rescue(*, deaths: int) -> None:
        back = {"status": "queued", "claim_token": None, "lease_until": None, "deaths": deaths}
        with mill.database.transaction() as connection:
            connection.execute(update(jobs_table).values(back))

    assert make() == make() == "running"
    rescue(deaths=1)
    assert make() == "queued"
    with mill.database.transaction() as connection:
        attempts.open_intents(connection, [an_intent(job_id)])
    rescue(deaths=0)
    assert make() == "queued"


def an_intent(job_id: int) -> Intent:
    now = utc_now()
    day, month = periods(now)
    return Intent(
        "a1", job_id, "acme", 1, Purpose.ANSWER, 0, "tiny", "acme", "cheap", "k", 1, day, month, now
    )
