"""The mark of the job in hand is up in each of its steps and at no other time."""

import asyncio
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.ids import claim_token, claimant_id, claimant_of
from worker.work_marks import LeftMarks, Mark, WorkMarks, step_by_step


class Marked:
    """Notes when it is put up and removed, and by whom."""

    def __init__(self) -> None:
        self.up: str | None = None
        self.steps: list[str] = []

    def around(self, name: str):
        def put() -> None:
            assert self.up is None
            self.up = name
            self.steps.append(name)

        def remove() -> None:
            assert self.up == name
            self.up = None

        return put, remove


async def test_every_step_of_two_jobs_is_marked_and_no_wait_is():
    marked, waiting, both = Marked(), 0, asyncio.Event()

    async def work(name: str) -> str:
        nonlocal waiting
        for _ in range(3):
            assert marked.up == name
            waiting += 1
            if waiting == 2:
                both.set()
            await asyncio.sleep(0)
            waiting -= 1
        assert marked.up == name
        return name.upper()

    async def look() -> None:
        await both.wait()
        assert marked.up is None

    one = step_by_step(work("one"), *marked.around("one"))
    two = step_by_step(work("two"), *marked.around("two"))
    assert await asyncio.gather(_task(one), _task(two), look()) == ["ONE", "TWO", None]
    assert sorted(marked.steps) == ["one"] * 4 + ["two"] * 4
    assert marked.up is None


async def test_what_a_job_raises_and_what_cancels_it_come_through_marked():
    marked, begun = Marked(), asyncio.Event()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError(marked.up)

    with pytest.raises(LookupError, match="fails"):
        await step_by_step(fails(), *marked.around("fails"))

    async def waits() -> str:
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cleaned_up_by = str(marked.up)
            await asyncio.sleep(0)
            return cleaned_up_by
        return ""

    task = asyncio.ensure_future(_task(step_by_step(waits(), *marked.around("waits"))))
    await begun.wait()
    assert marked.up is None
    task.cancel()
    assert await task == "waits"


async def test_a_process_that_dies_in_a_step_leaves_the_mark_of_that_job(
    redis_client: redis.Redis,
):
    marks, left = WorkMarks(redis_client, claimant_id()), LeftMarks(redis_client)
    mine, other = Mark(7, claim_token(marks.claimant)), claimant_id()
    assert claimant_of(mine.claim_token) == marks.claimant

    async def work() -> None:
        assert left.of({marks.claimant, other}) == {marks.claimant: mine}
        await asyncio.sleep(0)
        raise SystemExit

    with pytest.raises(SystemExit):
        await marks.around(mine, work())
    assert left.of({marks.claimant}) == {}  # this one was not killed, after all


async def test_without_redis_a_job_runs_unmarked_and_asks_once(
    silent: "Silent", capsys: pytest.CaptureFixture[str]
):
    marks = WorkMarks(silent, claimant_id())  # type: ignore[arg-type]

    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    for _ in range(3):
        assert await marks.around(Mark(7, claim_token()), work()) == "done"
    assert silent.asked == 1


class Silent:
    """A server that does not answer, and how often it was asked."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.asked = 0

    def set(self, *arguments: object) -> object:
        self.asked += 1
        return self._client.set(*arguments)  # type: ignore[arg-type]

    def delete(self, *arguments: object) -> object:
        self.asked += 1
        return self._client.delete(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def silent() -> Iterator[Silent]:
    once = Retry(NoBackoff(), 0)
    with redis.Redis(unix_socket_path="/nowhere/redis.sock", retry=once) as client:
        yield Silent(client)


async def _task(work: Generator[Any, Any, Any]) -> Any:
    return await work
