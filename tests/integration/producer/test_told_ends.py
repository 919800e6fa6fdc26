"""The API answers with the results that workers tell; where one was not told, with the database's.

The test is the worker, and writes to the database something else than what it tells.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from redis import Redis
from sqlalchemy import insert, select

from producer.bootstrap import ProducerContext
from shared.clock import utc_now
from shared.db.repositories import awaited
from shared.db.tables import batches, results
from shared.domain.job import JobStatus, job_id_of
from shared.live_answers import Ended, channel_of, to_bytes
from tests.servers.waiting import wait_for
from worker.result_rows import unanswered_row


def row(number: int, line: int, message: str) -> dict[str, Any]:
    error = {"code": "no_model", "message": message}
    return unanswered_row(job_id_of(number, line), (), error, utc_now(), JobStatus.FAILED)


class Worker:
    """What the test says and writes in a worker's place."""

    def __init__(self, context: ProducerContext, redis: Redis) -> None:
        self._database = context.database
        self._redis = redis
        self.id, self.number = "", 0

    def has_work(self) -> bool:
        with self._database.reading() as connection:
            begun = connection.execute(select(batches.c.id, batches.c.number)).one_or_none()
        if begun is not None:
            self.id, self.number = begun
        return begun is not None

    def write(self, *lines: int) -> None:
        with self._database.transaction() as connection:
            connection.execute(insert(results), [row(self.number, i, f"read {i}") for i in lines])

    def tell(self, line: int) -> None:
        told = awaited.told(row(self.number, line, f"told {line}"))
        self._redis.publish(channel_of(self.id), to_bytes(Ended(line, told)))

    def tell_as_of_old(self, line: int) -> None:
        self._redis.publish(channel_of(self.id), b'{"line": %d, "ended": true}' % line)


@pytest.fixture
def worker(context: ProducerContext, redis_client: Redis) -> Worker:
    return Worker(context, redis_client)


def compared(api: httpx.Client, worker: Worker, work: Callable[[], None]) -> list[str]:
    """What each side of a comparison ends with, where a worker does this."""
    names = [model["id"] for model in api.get("/v1/models").json()["data"]]
    asked = {"prompt": "a", "models": [name for name in names if "embed" not in name][-2:]}
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(api.post, "/v1/compare", json=asked)
        wait_for(worker.has_work, "the comparison has begun")
        work()
        sides = answer.result().json()["data"]
    return [side["error"]["message"] for side in sides]


def test_what_was_told_of_all_lines_is_the_answer_in_input_order(
    api: httpx.Client, worker: Worker
) -> None:
    def work() -> None:
        worker.tell(2)
        worker.tell(1)

    assert compared(api, worker, work) == ["told 1", "told 2"]


def test_where_an_older_worker_tells_only_the_end_the_answer_is_read(
    api: httpx.Client, worker: Worker
) -> None:
    def work() -> None:
        worker.write(1, 2)
        worker.tell(1)
        worker.tell_as_of_old(2)

    assert compared(api, worker, work) == ["read 1", "read 2"]
