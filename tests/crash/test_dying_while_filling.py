"""API, worker and maintenance are killed while a batch runs whose last lines are still being sent:
sent again under its key it is one whole batch, each line answered once; not sent again it ends.
"""

import signal

import httpx
import pytest

from shared.domain.batch import BatchStatus
from shared.fault_points import FaultPoint
from tests.crash.invariants import check
from tests.crash.plant import ADMIN_KEY, ON_BOTH, Plant
from tests.integration.producer.slow_upload import JSONL, uploading

FIRST, LINES = 30, 70
KEY = "upload"
CAP = {"max_cost_usd": "0.05"}
# The point, how often it is passed, and how many lines are in when the API dies there.
CASES = [
    (FaultPoint.AFTER_BATCH_ROW, 1, 0),
    (FaultPoint.AFTER_START, 1, FIRST),
    (FaultPoint.AFTER_BLOCK, 2, LINES),
    (FaultPoint.BEFORE_SEAL_COMMIT, 1, LINES),
    (FaultPoint.AFTER_SEAL, 1, LINES),
]
IN_THE_SUITE = [(CASES[1], "postgres")]
ALL = [(case, database) for case in CASES for database in ("sqlite", "postgres")]


def lines(first: int, last: int) -> bytes:
    line = b'{"prompt": "What is %d + 1?", "model": "tiny", "max_tokens": 40}\n'
    return b"".join(line % n for n in range(first, last + 1))


def client(url: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    return httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)


def die(plant: Plant, point: FaultPoint, nth: int, key: str | None) -> None:
    """An API process dies there of a slow upload, with a worker and maintenance at work."""
    armed, url = plant.start_api(
        "armed", fault=f"{point.value}:{nth}", intake_starts_after_lines=FIRST
    )
    with client(url) as api, uploading(api, lines(1, FIRST), key, **CAP) as upload:
        if nth > 1 or point in {FaultPoint.BEFORE_SEAL_COMMIT, FaultPoint.AFTER_SEAL}:
            plant.wait_for(lambda: answered(plant) == FIRST, "what is in was answered")
            (batch,) = plant.rows("SELECT status FROM batches")
            assert batch.status == BatchStatus.FILLING
            upload.send(lines(FIRST + 1, LINES))
            if point is not FaultPoint.AFTER_BLOCK:
                plant.wait_for(lambda: taken(plant) == LINES, "all lines are in")
        if point in {FaultPoint.BEFORE_SEAL_COMMIT, FaultPoint.AFTER_SEAL}:
            with pytest.raises(httpx.TransportError):
                upload.end()
        assert plant.wait_for_end_of(armed) == -signal.SIGKILL
    plant.numbers += [row.number for row in plant.rows("SELECT number FROM batches")]


def answered(plant: Plant) -> int:
    (row,) = plant.rows("SELECT count(*) AS jobs FROM results WHERE status = 'completed'")
    return int(row.jobs)


def taken(plant: Plant) -> int:
    rows = plant.rows("SELECT total FROM batches")
    return int(rows[0].total) if rows else 0


@pytest.fixture
def running(plant: Plant) -> Plant:
    plant.start_maintenance()
    plant.start_worker("worker", lease_s=2)
    return plant


@pytest.mark.parametrize(
    ("case", "database_url"), ALL if ON_BOTH else IN_THE_SUITE, indirect=["database_url"]
)
def test_what_dies_while_a_batch_fills_and_runs_costs_no_line_and_none_twice(
    running: Plant, case: tuple[FaultPoint, int, int]
) -> None:
    plant, (point, nth, there) = running, case
    die(plant, point, nth, KEY)
    assert taken(plant) == there
    if ON_BOTH:  # the worker and the maintenance too, while it is half filled; others take over
        for child in plant.children:
            child.kill()
        plant.pass_the_leadership_on()
        plant.start_maintenance("another")
        plant.start_worker("other", lease_s=2)
    _, url = plant.start_api("healthy", intake_starts_after_lines=FIRST)
    (number,) = plant.numbers
    if point is FaultPoint.AFTER_START:
        plant.wait_for(lambda: answered(plant) == FIRST, "what is in is answered all the same")
        assert plant.batch(number).status == BatchStatus.FILLING

    with client(url) as api:
        answer = api.post(
            "/v1/batches",
            content=lines(1, LINES),
            headers=JSONL | {"Idempotency-Key": KEY},
            params=CAP,
        )
    assert answer.json()["id"] == plant.batch(number).id
    plant.wait_for_batch(number)

    figures = check(plant)
    assert (figures.jobs, figures.completed) == (LINES, LINES)
    assert figures.calls <= LINES + figures.lost
    assert plant.batch(number).status == BatchStatus.COMPLETED
