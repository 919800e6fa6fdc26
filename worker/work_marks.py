"""Marks: which job a process is working on at this moment, told where it outlives the process.

A job that was in a dying process is run step by step from then on: before each of its steps on the
loop its mark is put into Redis, after it the mark is removed. While a job waits (for a provider,
the ledger, a commit) it has no mark, so any number of such jobs run at once. The loop takes one
step at a time: a process that dies in a step leaves exactly the mark of the job that was in hand.

Weakness: what kills outside of a job's own steps (in the parser of a connection, in the recorder's
thread) leaves no mark; nor does a step while Redis does not answer. Such deaths are counted and
blame nobody, see `shared.domain.blame`. A step costs two short round trips, for which the loop
waits.
"""

import time
import types
from collections.abc import Callable, Collection, Coroutine, Generator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar, cast

import structlog
from redis import Redis

from shared.errors import UnavailableError
from shared.redis_client import mapped_redis_errors

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")

_KEPT_S: Final = 86_400
_SILENT_S: Final = 5.0
"""Without marks after Redis failed to answer, so that it does not hold up the loop at each step."""


class Mark(NamedTuple):
    """A job in hand, under its claim."""

    job_id: int
    claim_token: str


class WorkMarks:
    """The marks of one process, used in its loop only. claimant: what its claims' tokens begin
    with. redis: a client that waits for an answer but briefly.
    """

    def __init__(self, redis: Redis, claimant: str) -> None:
        self.claimant = claimant
        self._redis = redis
        self._key = _key_of(claimant)
        self._silent_until = 0.0
        self._is_up = False

    async def around(self, mark: Mark, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run the coroutine with the mark up in each of its steps."""
        return await step_by_step(work, partial(self._put, mark), self._remove)

    def close(self) -> None:
        """Let the connection go."""
        self._redis.close()

    def _put(self, mark: Mark) -> None:
        if time.monotonic() < self._silent_until:
            return
        self._is_up = True  # also where no answer comes
        self._tell(lambda: self._redis.set(self._key, f"{mark.job_id}:{mark.claim_token}", _KEPT_S))

    def _remove(self) -> None:
        if self._is_up and time.monotonic() >= self._silent_until:
            self._is_up = not self._tell(lambda: self._redis.delete(self._key))

    def _tell(self, command: Callable[[], object]) -> bool:
        try:
            with mapped_redis_errors():
                command()
        except UnavailableError as error:
            log.warning("a job in hand is not marked", reason=error.message)
            self._silent_until = time.monotonic() + _SILENT_S
            return False
        return True


class LeftMarks:
    """What dead processes were working on, for whoever rescues their jobs."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def of(self, claimants: Collection[str]) -> Mapping[str, Mark]:
        """The marks that these processes left, by claimant. Raises UnavailableError."""
        if not claimants:
            return {}
        names = list(claimants)
        with mapped_redis_errors():
            found = self._redis.mget([_key_of(name) for name in names])
        told = cast("list[bytes | None]", found)
        return {
            name: _parsed(value)
            for name, value in zip(names, told, strict=True)
            if value is not None
        }


@types.coroutine
def step_by_step(
    work: Coroutine[Any, Any, ResultT], before: Callable[[], object], after: Callable[[], object]
) -> Generator[Any, Any, ResultT]:
    """Await a coroutine with `before` and `after` around each stretch in which it runs, also the
    last one and those that begin with a cancellation.
    """
    resume: Callable[[], Any] = partial(work.send, None)
    while True:
        before()
        try:
            awaited = resume()
        except StopIteration as end:
            result: ResultT = end.value
            return result
        finally:
            after()
        try:
            sent = yield awaited
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
            resume = partial(work.throw, error)
        else:
            resume = partial(work.send, sent)


def _key_of(claimant: str) -> str:
    return f"promptmill:in-hand:{claimant}"


def _parsed(value: bytes) -> Mark:
    job_id, _, token = value.decode().partition(":")
    return Mark(int(job_id), token)
