"""A worker is killed around the write that ends a job and its duplicates: all of them or none."""

import signal

import pytest

from shared.fault_points import FaultPoint
from tests.crash.invariants import check
from tests.crash.plant import Plant, on_databases, questions

ASKED = 8
TIMES = 20


@pytest.mark.parametrize(
    ("case", "database_url"),
    on_databases(
        [FaultPoint.BEFORE_RECORDING_COMMIT, FaultPoint.AFTER_RECORDING], first="postgres"
    ),
    indirect=["database_url"],
)
def test_a_killed_workers_duplicates_end_once_and_cost_nothing(
    plant: Plant, case: FaultPoint
) -> None:
    armed = plant.start_worker(
        "armed", threads=1, fault=f"{case.value}:3", max_in_flight=1, lease_s=2
    )
    plant.start_maintenance()
    plant.wait_until_ready(armed)
    number = plant.submit(questions(ASKED), each_times=TIMES)
    assert plant.wait_for_end_of(armed) == -signal.SIGKILL
    ended = plant.count(number, "completed")
    assert ended >= 2 * TIMES
    assert ended % TIMES == 0, "a job ends together with all that wait for it"
    plant.start_worker("healthy", threads=4, lease_s=30)
    plant.wait_for_batch(number)

    assert plant.statuses(number) == {"completed": ASKED * TIMES}
    figures = check(plant)
    assert ASKED <= figures.calls <= ASKED + figures.unconfirmed
    alike = plant.rows(
        "SELECT r.duplicate_of, r.cost_nusd, r.saved_nusd, r.body = o.body AS same, o.cost_nusd AS"
        " paid FROM results r JOIN results o ON o.job_id = r.duplicate_of"
    )
    assert len(alike) == ASKED * (TIMES - 1)
    assert all(row.same and row.cost_nusd == 0 and row.saved_nusd == row.paid for row in alike)
