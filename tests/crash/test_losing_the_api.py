"""API processes are killed at each point of an upload: no half batch is ever to be seen at work,
and the same upload sent again under the same key gives one batch, whole.
"""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import pytest

from producer.blocks import LINES_PER_TRANSACTION
from shared.domain.batch import BatchStatus
from shared.fault_points import FaultPoint
from tests.crash.invariants import check
from tests.crash.plant import ADMIN_KEY, ON_BOTH, Plant, on_one_database, resume
from tests.integration.producer import sdk

CaseT = TypeVar("CaseT")
LINES = 2 * LINES_PER_TRANSACTION + 7
# The point, how often it is passed, and how many lines are in when the process dies there.
SUBMISSION = [
    (FaultPoint.AFTER_SPOOLING, 1, None),
    (FaultPoint.AFTER_BATCH_ROW, 1, 0),
    (FaultPoint.AFTER_BLOCK, 1, LINES_PER_TRANSACTION),
    (FaultPoint.AFTER_BLOCK, 3, LINES),
    (FaultPoint.BEFORE_SEAL_COMMIT, 1, LINES),
]
# The point, and how many files or batches there are afterwards.
UPLOAD = [(FaultPoint.BEFORE_FILE_ROW, 0), (FaultPoint.AFTER_FILE_ROW, 1)]
FILE_BATCH = [
    (FaultPoint.BEFORE_FILE_BATCH_COMMIT, 0),
    (FaultPoint.AFTER_FILE_BATCH, 1),
    (FaultPoint.AFTER_INTAKE_CLAIM, 1),
    (FaultPoint.AFTER_BLOCK, 1),
    (FaultPoint.BEFORE_SEAL_COMMIT, 1),
    (FaultPoint.AFTER_SEAL, 1),
]
BAD = (3, LINES_PER_TRANSACTION + 3, LINES)
"""One in each block."""


def some(cases: Sequence[CaseT], always: Sequence[CaseT]) -> list[CaseT]:
    """The suite's time is short: points near others only with CRASH_ON_BOTH."""
    return [case for case in cases if ON_BOTH or case in always]


@dataclass
class Uploads:
    """Submissions to a healthy API, and to armed ones that die of them."""

    plant: Plant
    healthy: str = ""
    started: int = 0
    key: str = ""
    clients: dict[str, httpx.Client] = field(default_factory=dict)

    def die(self, fault: str, method: Any) -> None:
        """A new API process takes an upload and is killed by it."""
        self.started += 1
        self.key = f"upload-{self.started}"
        armed, url = self.plant.start_api(f"armed{self.started}", fault=fault, lease_s=1)
        with pytest.raises(httpx.TransportError):
            method(url)
        assert self.plant.wait_for_end_of(armed) == -signal.SIGKILL

    def close(self) -> None:
        for client in self.clients.values():
            client.close()

    def client(self, url: str) -> httpx.Client:
        if url not in self.clients:
            headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
            self.clients[url] = httpx.Client(
                base_url=url, headers=headers, timeout=60, trust_env=False
            )
        return self.clients[url]

    def submit(self, url: str, content: bytes) -> dict[str, Any]:
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": self.key}
        answer = self.client(url).post("/v1/batches", content=content, headers=headers)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def file(self, url: str, content: bytes) -> str:
        answer = self.client(url).post(
            "/v1/files", files={"file": ("in.jsonl", content)}, data={"purpose": "batch"}
        )
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def batch_of(self, url: str, file_id: str) -> dict[str, Any]:
        asked = {"input_file_id": file_id, "endpoint": sdk.CHAT, "completion_window": "24h"}
        answer = self.client(url).post(
            "/v1/batches", json=asked, headers={"Idempotency-Key": self.key}
        )
        assert answer.is_success, answer.text
        return dict(answer.json())

    def get(self, path: str) -> dict[str, Any]:
        return dict(self.client(self.healthy).get(path).raise_for_status().json())

    def listed(self) -> list[dict[str, Any]]:
        return list(self.get("/v1/batches?limit=100")["data"])


@pytest.fixture
def uploads(plant: Plant) -> Iterator[Uploads]:
    uploads = Uploads(plant)
    yield uploads
    uploads.close()


def native(count: int, bad: tuple[int, ...] = ()) -> bytes:
    line = b'{"prompt": "What is %d + 1?", "model": "tiny", "max_tokens": 40}'
    return b"\n".join(b'{"prompt": 7}' if n in bad else line % n for n in range(1, count + 1))


@pytest.mark.parametrize("database_url", on_one_database("sqlite"), indirect=True)
def test_a_submission_whose_api_died_becomes_one_whole_batch_when_it_is_sent_again(
    plant: Plant, uploads: Uploads
) -> None:
    _, uploads.healthy = plant.start_api("healthy")
    content = native(LINES, BAD)
    for point, nth, lines in some(SUBMISSION, SUBMISSION[2:3]):
        known = {batch["id"] for batch in uploads.listed()}
        uploads.die(f"{point.value}:{nth}", lambda url: uploads.submit(url, content))
        half = [batch for batch in uploads.listed() if batch["id"] not in known]
        totals = [batch["promptmill"]["counts"]["total"] for batch in half]
        assert totals == ([] if lines is None else [lines])
        assert {batch["status"] for batch in half} <= {BatchStatus.VALIDATING.value}

        made = uploads.submit(uploads.healthy, content)

        assert not half or made["id"] == half[0]["id"]
        assert len(uploads.listed()) == len(known) + 1
        assert_whole(plant, made)
        assert uploads.submit(uploads.healthy, content)["id"] == made["id"]


@pytest.mark.parametrize("database_url", on_one_database("postgres"), indirect=True)
def test_a_batch_whose_api_died_before_it_was_queued_runs_all_the_same(
    plant: Plant, uploads: Uploads
) -> None:
    content = native(5)
    uploads.die(FaultPoint.AFTER_SEAL.value, lambda url: uploads.submit(url, content))
    (batch,) = plant.rows("SELECT number, status FROM batches")
    assert batch.status == BatchStatus.IN_PROGRESS
    plant.numbers.append(batch.number)

    plant.start_maintenance()
    plant.start_worker("worker")
    plant.wait_for_batch(batch.number)

    figures = check(plant)
    assert (figures.jobs, figures.completed, figures.calls) == (5, 5, 5)


@pytest.mark.parametrize("database_url", on_one_database("postgres"), indirect=True)
def test_a_file_whose_api_died_becomes_one_whole_batch(plant: Plant, uploads: Uploads) -> None:
    healthy, uploads.healthy = plant.start_api("healthy", lease_s=1)
    content = sdk.lines(LINES, model="tiny", max_tokens=40)
    for point, kept in some(UPLOAD, ()):
        uploads.die(point.value, lambda url: uploads.file(url, content))
        assert len(uploads.get("/v1/files")["data"]) == kept
    file_id = uploads.file(uploads.healthy, content)
    for point, made in some(FILE_BATCH, (FILE_BATCH[0], FILE_BATCH[3])):
        known = {batch["id"] for batch in uploads.listed()}
        plant.stop_between_writes(healthy)  # so that the armed one surely reads the file
        uploads.die(point.value, lambda url: create_and_wait(uploads, url, file_id))
        resume(healthy)
        new = {batch["id"] for batch in uploads.listed()} - known
        assert len(new) == made

        batch = uploads.batch_of(uploads.healthy, file_id)

        assert not new or new == {batch["id"]}
        plant.wait_for(
            lambda b=batch: uploads.get(f"/v1/batches/{b['id']}")["status"] != "validating",  # type: ignore[misc]
            "the file was read",
        )
        assert_whole(plant, batch, rejected=0)


def create_and_wait(uploads: Uploads, url: str, file_id: str) -> None:
    """The answer may come before the process dies of what it does in the background."""
    uploads.batch_of(url, file_id)
    while True:
        uploads.client(url).get("/health/live")


def assert_whole(plant: Plant, made: dict[str, Any], rejected: int = len(BAD)) -> None:
    """Each line is in once, the good ones wait to be run, the bad ones have their error."""
    (batch,) = plant.rows("SELECT * FROM batches WHERE id = :id", id=made["id"])
    assert (batch.status, batch.total, batch.rejected) == ("in_progress", LINES, rejected)
    rows = plant.rows(
        "SELECT id, status FROM jobs WHERE id >> 24 = :number ORDER BY id", number=batch.number
    )
    assert [row.id & 0xFFFFFF for row in rows] == list(range(1, LINES + 1))
    bad = [row.id & 0xFFFFFF for row in rows if row.status == "failed"]
    assert bad == list(BAD)[: rejected or 0]
    assert {row.status for row in rows} <= {"queued", "failed"}
