"""The process: one leads, another takes over, a stumble stops nobody, SIGTERM ends it at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from shared.db.engine import Database
from shared.db.repositories import leaderships
from shared.db.repositories.errands import Errand
from shared.db.tables import leaderships as leaderships_table
from shared.errors import UnavailableError
from shared.settings import Settings
from tests.integration.repair.mill import NOW, Mill
from worker.figures import MaintenanceFigures
from worker.maintenance.__main__ import rounds_of
from worker.maintenance.leadership import Leadership
from worker.maintenance.rounds import Round, Rounds, pause_after

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60.0
Start = Callable[..., "subprocess.Popen[str]"]


def until(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.02)


def leader(database: Database) -> str | None:
    with database.reading() as connection:
        holder: str | None = connection.execute(
            select(leaderships_table.c.holder)
        ).scalar_one_or_none()
    return holder


@pytest.fixture
def start(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def start(*options: str, module: str = "worker.maintenance") -> "subprocess.Popen[str]":
        environment = {
            "PROMPTMILL_DATABASE_URL": database_url,
            "PROMPTMILL_REDIS_URL": redis_url,
            "PROMPTMILL_HOME": str(tmp_path / "home"),
            "PROMPTMILL_LEASE_S": "1",  # so long it watches before it takes anything
        }
        process = subprocess.Popen(
            [sys.executable, "-m", module, *options],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_one_of_two_leads_and_the_other_takes_over_when_it_is_killed(
    start: Start, database: Database
):
    first = start(module="tests.servers.hasty")
    until(lambda: leader(database))
    second = start(module="tests.servers.hasty")
    before = leader(database)
    first.kill()
    until(lambda: leader(database) not in (None, before))
    second.send_signal(signal.SIGTERM)
    assert second.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0_and_gives_the_leadership_up(
    start: Start, database: Database, number: signal.Signals
):
    process = start()
    until(lambda: leader(database))
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 0
    assert leader(database) is None


def test_the_process_repairs(start: Start, database: Database, mill: Mill):
    number = mill.batch(2)
    mill.claim(number, 1, now=NOW - timedelta(days=400))
    start()
    until(lambda: mill.job(number, 1).deaths == 1)
    until(lambda: mill.job(number, 2).lease_until is not None)


def test_once_runs_every_repairer_and_ends(start: Start, mill: Mill, database: Database):
    number = mill.batch(2)
    mill.claim(number, 1, now=NOW - timedelta(days=400))
    process = start("--once")
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    assert "job_rescuer: 1\n" in output
    assert "job_stager: 2\n" in output
    assert "dispatcher: 0\n" in output
    assert leader(database) is None


def test_once_says_so_where_another_leads(start: Start, database: Database):
    with database.transaction() as connection:
        leaderships.acquire(connection, "maintenance", "another", datetime.now().astimezone(), 600)
    process = start("--once")
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "another process leads" in output


def test_a_leader_that_does_not_renew_is_succeeded_when_its_lease_is_over(database: Database):
    first, second = Leadership(database, "first"), Leadership(database, "second")
    assert first.seek(NOW)
    assert not second.seek(NOW + timedelta(seconds=9))
    assert second.seek(NOW + timedelta(seconds=11))
    assert not first.seek(NOW + timedelta(seconds=12))
    assert not first.leads
    second.resign()
    assert first.seek(NOW + timedelta(seconds=13))


def test_many_that_ask_at_once_have_one_leader(database: Database):
    leading: list[str] = []
    barrier = threading.Barrier(8)

    def seek(name: str) -> None:
        barrier.wait()
        if Leadership(database, name).seek(NOW):
            leading.append(name)

    threads = [threading.Thread(target=seek, args=(f"holder-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(leading) == 1


class Stumbling:
    """Fails every time, and says when it has been asked twice."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = threading.Semaphore(0)

    def run_once(self, now: datetime) -> int:
        assert now.tzinfo is not None
        self.asked.release()
        raise self.error


class Working:
    """Repairs one thing each time."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)

    def run_once(self, now: datetime) -> int:
        assert now.tzinfo is not None
        self.asked.release()
        return 1


def test_a_repairer_that_stumbles_is_asked_again_and_stops_no_other():
    worker = Working()
    stumbling = [Stumbling(ValueError("a fault")), Stumbling(UnavailableError("no database"))]
    everyone = [Round(f"r{i}", r, 0.01, 0.01) for i, r in enumerate([worker, *stumbling])]
    rounds = Rounds(everyone, lambda: True, MaintenanceFigures())
    rounds.start()
    for repairer in (worker, *stumbling):
        for _ in range(2):
            assert repairer.asked.acquire(timeout=PATIENCE_S)
    rounds.stop(PATIENCE_S)


def test_a_repairer_that_is_called_looks_before_its_pause_is_over_and_tells_what_it_found():
    worker, found = Working(), threading.Semaphore(0)
    rounds = Rounds(
        [Round("worker", worker, 3600.0, 3600.0, found=found.release)],
        lambda: True,
        MaintenanceFigures(),
    )
    rounds.start()
    assert worker.asked.acquire(timeout=PATIENCE_S)
    rounds.call("worker")
    assert worker.asked.acquire(timeout=PATIENCE_S)
    assert found.acquire(timeout=PATIENCE_S)
    assert found.acquire(timeout=PATIENCE_S)
    rounds.stop(PATIENCE_S)


def test_whoever_does_not_lead_repairs_nothing():
    worker, asked = Working(), threading.Semaphore(0)

    def leads() -> bool:
        asked.release()
        return False

    rounds = Rounds([Round("worker", worker, 0.0, 0.0)], leads, MaintenanceFigures())
    rounds.start()
    assert asked.acquire(timeout=PATIENCE_S)
    rounds.stop(PATIENCE_S)
    assert not worker.asked.acquire(blocking=False)


def test_an_idle_repairer_that_looks_long_rests_a_hundred_times_as_long():
    round_ = Round("any", Working(), idle_s=1.0, busy_s=0.2)
    assert pause_after(round_, 1, 5.0) == 0.2
    assert pause_after(round_, 0, 0.001) == 1.0
    assert pause_after(round_, 0, 0.05) == 5.0
    assert pause_after(round_, 0, 60.0) == 30.0


def test_a_repairer_without_an_errand_is_quiet_until_there_is_one():
    worker, looked = Working(), threading.Semaphore(0)
    there_is: set[Errand] = set()

    def look_out() -> frozenset[Errand]:
        looked.release()
        return frozenset(there_is)

    wanted = frozenset({Errand.EVENTS})
    rounds = Rounds(
        [Round("worker", worker, 3600.0, 0.0, errands=wanted, quiet_s=3600.0)],
        lambda: True,
        MaintenanceFigures(),
        look_out=look_out,
        look_out_every_s=0.01,
    )
    rounds.start()
    assert worker.asked.acquire(timeout=PATIENCE_S)
    for _ in range(3):  # by the second look-out it is known that there is nothing
        assert looked.acquire(timeout=PATIENCE_S)
    while worker.asked.acquire(blocking=False):
        pass
    there_is.add(Errand.EVENTS)
    assert worker.asked.acquire(timeout=PATIENCE_S)
    rounds.stop(PATIENCE_S)


def test_a_look_out_that_cannot_tell_lets_everybody_look():
    worker = Working()

    def look_out() -> frozenset[Errand]:
        raise UnavailableError("no database")

    everyone = [Round("worker", worker, 0.01, 0.01, errands=frozenset({Errand.EVENTS}))]
    rounds = Rounds(
        everyone, lambda: True, MaintenanceFigures(), look_out=look_out, look_out_every_s=0.01
    )
    rounds.start()
    for _ in range(5):
        assert worker.asked.acquire(timeout=PATIENCE_S)
    rounds.stop(PATIENCE_S)


def test_a_repairer_that_finds_little_may_take_its_time():
    round_ = Round("any", Working(), idle_s=1.0, busy_s=0.2, hurries_from=10)
    assert pause_after(round_, 9, 0.001) == 1.0
    assert pause_after(round_, 10, 0.001) == 0.2


def test_every_repairer_of_the_room_has_its_round(settings: Settings):
    database = Database(settings.resolved_database_url)
    names = {round_.name for round_ in rounds_of(settings, database)}
    database.close()
    folder = ROOT / "worker" / "maintenance"
    files = {path.stem for path in folder.glob("*.py") if "def run_once" in path.read_text()}
    assert names == files - {"rounds"}
