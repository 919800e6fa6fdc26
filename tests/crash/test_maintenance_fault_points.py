"""The leader of the maintenance is killed at each point; another one takes up where it was."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update

from shared.clock import utc_now
from shared.db.tables import webhook_deliveries
from shared.fault_points import FaultPoint
from tests.crash.invariants import check
from tests.crash.plant import Plant, on_databases, questions
from tests.crash.receiver import SECRET, Receiver

JOBS = 20


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    receiver = Receiver(tmp_path)
    yield receiver
    receiver.child.kill()


@dataclass(frozen=True)
class Case:
    """`worker` is where a worker dies first, for the rescuer to have work; `told`: how often the
    receiver hears of the batch's end.
    """

    point: FaultPoint
    worker: str = ""
    told: int = 1


CASES = [
    Case(FaultPoint.AFTER_STAGE_MARK),
    Case(FaultPoint.BEFORE_RESCUE_COMMIT, worker="after_answer:3"),
    Case(FaultPoint.AFTER_RESCUE, worker="after_answer:3"),
    Case(FaultPoint.BEFORE_RELAY_COMMIT),
    Case(FaultPoint.AFTER_DELIVERY_CLAIM),
    Case(FaultPoint.AFTER_DELIVERY, told=2),
]


@pytest.mark.parametrize(("case", "database_url"), on_databases(CASES), indirect=["database_url"])
def test_a_killed_leaders_work_is_taken_up(plant: Plant, receiver: Receiver, case: Case) -> None:
    number = kill_the_leader(plant, receiver, case)
    plant.wait_for_batch(number)
    plant.wait_for(lambda: len(receiver.events()) == case.told, "the event arrives")

    figures = check(plant)
    assert (figures.completed, figures.lost) == (JOBS, 1 if case.worker else 0)
    events = receiver.events()
    assert all(event["verified"] for event in events)
    assert len({event["headers"]["webhook-id"] for event in events}) == 1
    plant.wait_for(
        lambda: plant.rows("SELECT status FROM webhook_deliveries") == [("delivered",)],
        "the delivery is noted",
    )


def kill_the_leader(plant: Plant, receiver: Receiver, case: Case) -> int:
    """Returns the batch's number when the leader is dead and another one was started."""
    plant.endpoint(f"{receiver.url}/hook", SECRET)
    armed = plant.start_maintenance("armed", fault=case.point.value)
    first = plant.start_worker(
        "first", threads=1, fault=case.worker, max_in_flight=1 if case.worker else 8, lease_s=2
    )
    plant.wait_until_ready(first)
    number = plant.submit(questions(JOBS))
    assert plant.wait_for_end_of(armed) == -signal.SIGKILL

    plant.pass_the_leadership_on()
    _let_the_delivery_claims_lapse(plant)
    plant.start_maintenance("second")
    if case.worker:
        plant.start_worker("next", lease_s=30)
    return number


def _let_the_delivery_claims_lapse(plant: Plant) -> None:
    """The minute for which the dead dispatcher had claimed its deliveries is over."""
    with plant.database.transaction() as connection:
        connection.execute(
            update(webhook_deliveries)
            .where(webhook_deliveries.c.status == "pending")
            .values(next_try_at=utc_now())
        )
