"""A worker is killed at each point of a job's way; another one and the repairers finish its batch.

The armed worker runs one job at a time, so what was under way when it died is known exactly.
"""

import signal
from dataclasses import dataclass

import pytest

from shared.budget.scripts import KEYS
from shared.fault_points import FaultPoint
from shared.queue.celery_app import KEY_PREFIX, make_celery_app
from shared.queue.publisher import Publisher
from tests.crash.invariants import check
from tests.crash.plant import Plant, on_databases, questions, resume

JOBS = 40
_QUIET_LOOKS = 10
_UNACKNOWLEDGED = f"{KEY_PREFIX}unacked"


@dataclass(frozen=True)
class Case:
    """Dies at `point` the `nth` time; then `unconfirmed` attempts are charged without an answer,
    and the provider answered `again` jobs twice.
    """

    point: FaultPoint
    nth: int
    unconfirmed: int
    again: int


CASES = [
    Case(FaultPoint.AFTER_CLAIM, 1, 0, 0),
    Case(FaultPoint.AFTER_RESERVE, 3, 0, 0),
    Case(FaultPoint.BEFORE_INTENT_COMMIT, 3, 0, 0),
    Case(FaultPoint.AFTER_INTENT, 3, 1, 0),
    Case(FaultPoint.AFTER_CONFIRM, 3, 1, 0),
    Case(FaultPoint.AFTER_REQUEST, 3, 1, 1),
    Case(FaultPoint.AFTER_ANSWER, 3, 1, 1),
    Case(FaultPoint.BEFORE_RECORDING, 3, 1, 1),
    Case(FaultPoint.BEFORE_RECORDING_COMMIT, 3, 1, 1),
    Case(FaultPoint.AFTER_RECORDING, 3, 0, 0),
    Case(FaultPoint.AFTER_SETTLE, 3, 0, 0),
    Case(FaultPoint.BEFORE_ACK, 1, 0, 0),
]


def run_and_die(plant: Plant, fault: str) -> int:
    """Two workers, one armed; returns the batch's number when that one is dead and the other one
    at work.
    """
    armed = plant.start_worker("armed", threads=1, fault=fault, max_in_flight=1, lease_s=2)
    healthy = plant.start_worker("healthy", threads=4, lease_s=30)
    plant.start_maintenance()
    plant.wait_until_ready(armed, healthy)
    plant.stop_between_writes(healthy)  # so that the armed one surely gets work
    number = plant.submit(questions(JOBS))
    assert plant.wait_for_end_of(armed) == -signal.SIGKILL
    if fault.startswith(FaultPoint.BEFORE_ACK.value):
        deliver_again(plant)  # while its batch still runs
    resume(healthy)
    return number


@pytest.mark.parametrize(("case", "database_url"), on_databases(CASES), indirect=["database_url"])
def test_a_killed_workers_jobs_end_once_and_are_charged_once(plant: Plant, case: Case) -> None:
    number = run_and_die(plant, f"{case.point.value}:{case.nth}")
    plant.wait_for_batch(number)
    if case.point is FaultPoint.BEFORE_ACK:
        wait_until_acknowledged(plant)

    assert plant.statuses(number) == {"completed": JOBS}
    figures = check(plant)
    assert figures.lost == figures.unconfirmed == case.unconfirmed
    assert figures.calls == JOBS + case.again


def deliver_again(plant: Plant) -> None:
    """The broker gives what its dead consumer did not acknowledge to the next one, before all
    else, as it does when the visibility timeout is over.
    """
    app = make_celery_app(plant.settings)
    app.conf.broker_transport_options |= {"visibility_timeout": 0}
    with app.connection_for_write() as connection:
        assert plant.redis.hlen(_UNACKNOWLEDGED), "the dead worker left messages behind"
        connection.default_channel.qos.restore_visible(num=None)
        assert not plant.redis.hlen(_UNACKNOWLEDGED)
    app.close()


def wait_until_acknowledged(plant: Plant) -> None:
    """Every message was taken and is done with."""
    app = make_celery_app(plant.settings)
    publisher = Publisher(app)
    quiet = 0

    def is_quiet() -> bool:
        # Between a queue and its consumer's list a message is in neither for a moment.
        nonlocal quiet
        waits = any(publisher.depths().values()) or plant.redis.hlen(_UNACKNOWLEDGED)
        quiet = 0 if waits else quiet + 1
        return quiet == _QUIET_LOOKS

    plant.wait_for(is_quiet, "every message is acknowledged")
    app.close()


def rebuild_and_die(plant: Plant) -> int:
    """The one that rebuilds a lost ledger dies in it; returns the batch's number a minute later."""
    point = FaultPoint.IN_REBUILD
    plant.start_maintenance()
    armed = plant.start_worker("armed", threads=1, fault=point.value, max_in_flight=1, lease_s=2)
    healthy = plant.start_worker("healthy", threads=4, lease_s=30)
    plant.wait_until_ready(armed, healthy)
    plant.wait_for(plant.ledger.epoch, "the maintenance opens the ledger")
    plant.stop_between_writes(healthy)
    plant.redis.flushall()
    number = plant.submit(questions(JOBS))
    assert plant.wait_for_end_of(armed) == -signal.SIGKILL
    assert plant.ledger.epoch() is None, "nothing is admitted in a half-built ledger"

    _let_a_minute_pass(plant)
    resume(healthy)
    return number


def test_a_rebuild_whose_worker_dies_is_taken_over(plant: Plant) -> None:
    number = rebuild_and_die(plant)
    plant.wait_for_batch(number)

    assert plant.statuses(number) == {"completed": JOBS}
    assert check(plant).unconfirmed == 0


def _let_a_minute_pass(plant: Plant) -> None:
    """The dead worker's rebuild began a minute ago."""
    record = plant.redis.get(KEYS[0])
    assert isinstance(record, bytes)
    state, server, token, since = record.decode().split("|")
    plant.redis.set(KEYS[0], f"{state}|{server}|{token}|{int(since) - 61_000}")
