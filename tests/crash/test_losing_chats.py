"""A worker dies with a chat in its hands, whose claim is made with its first write."""

import signal
from typing import Any

import pytest

from shared.fault_points import FaultPoint
from shared.queue.lanes import INTERACTIVE_QUEUE
from tests.crash.invariants import check
from tests.crash.plant import ON_BOTH, Plant, on_databases, questions, resume
from tests.crash.test_worker_fault_points import Case
from tests.mill import asking

pytestmark = pytest.mark.skipif(
    not ON_BOTH, reason="a minute together, and its parts have tests: make crash-proof"
)
CASES = [
    Case(FaultPoint.AFTER_READ, 1, 0, 0),
    Case(FaultPoint.AFTER_RESERVE, 1, 0, 0),
    Case(FaultPoint.BEFORE_INTENT_COMMIT, 1, 0, 0),
    Case(FaultPoint.AFTER_INTENT, 1, 1, 0),
    Case(FaultPoint.AFTER_ANSWER, 1, 1, 1),
]


def start_chatting(plant: Plant, name: str, **options: Any) -> Any:
    return plant.start_worker(name, threads=1, queues=[INTERACTIVE_QUEUE], **options)


@pytest.mark.parametrize(("case", "database_url"), on_databases(CASES), indirect=["database_url"])
def test_a_chat_whose_worker_died_is_answered_once_and_charged_once(
    plant: Plant, case: Case
) -> None:
    armed = start_chatting(plant, "armed", fault=case.point.value, lease_s=2)
    plant.start_maintenance()
    number = plant.chat(questions(1))
    assert plant.wait_for_end_of(armed) == -signal.SIGKILL
    start_chatting(plant, "healthy")
    plant.wait_for_batch(number)

    assert plant.statuses(number) == {"completed": 1}
    figures = check(plant)
    assert figures.lost == figures.unconfirmed == case.unconfirmed
    assert figures.calls == 1 + case.again


def test_a_worker_that_hangs_before_it_claims_comes_back_too_late(plant: Plant) -> None:
    zombie = start_chatting(plant, "zombie", fault=f"{FaultPoint.AFTER_RESERVE}:1:stop")
    plant.start_maintenance()
    number = plant.chat(questions(1))
    plant.wait_for(lambda: "fault point" in zombie.log_tail(), "the worker hangs")
    healthy = start_chatting(plant, "healthy")
    plant.wait_for_batch(number)
    before = plant.rows("SELECT * FROM results")

    healthy.kill()
    resume(zombie)
    second = plant.chat(questions(1, start=2))
    plant.wait_for_batch(second)

    assert plant.rows(f"SELECT * FROM results WHERE job_id >> 24 = {number}") == before
    figures = check(plant)
    assert (figures.completed, figures.calls, figures.unconfirmed) == (2, 2, 0)


def test_a_chat_that_kills_its_workers_is_set_aside_after_one_more(plant: Plant) -> None:
    """The first one has not claimed it yet, so nobody counts that death."""
    plant.start_maintenance(max_deaths=3)
    number = plant.chat([asking("This one is deadly.", model="tiny", max_tokens=40)])
    deaths = 0
    while not plant.has_ended(number):
        worker = start_chatting(
            plant,
            f"mortal{deaths}",
            app="tests.servers.mortal_worker",
            lease_s=2,
            max_deaths=3,
        )
        plant.wait_for(
            lambda w=worker: not w.is_alive or plant.has_ended(number),  # type: ignore[misc]
            "it dies or the chat ends",
        )
        deaths += not worker.is_alive

    assert deaths == 4
    (poisoned,) = plant.rows("SELECT error FROM results")
    assert "poison" in str(poisoned.error)
    assert check(plant).calls == 0
