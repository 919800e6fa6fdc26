"""Answers that a project keeps for whoever asks the same again: in Redis, for as long as it says.

What is kept is only what was accepted and paid for; what counts as the same stands in
`shared.domain.repetition`, and besides it the project's own wishes and the catalog count, so a
change of either starts anew. Losing Redis loses nothing but hits. Looks of many jobs at a time are
one command, and so are the answers to be kept.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.deciding.routing_policy import NOTHING_LEARNED, RoutingPolicy
from shared.domain.inference import Request
from shared.domain.repetition import fingerprint, may_repeat

log = structlog.get_logger(__name__)

MAX_BYTES: Final = 256 * 1024
"""Longer answers are not kept: the same Redis holds the budget's counters."""

_AT_ONCE: Final = 256
_PREFIX: Final = "{promptmill}:answer:"


@dataclass(frozen=True, slots=True)
class Caching:
    """A project's cache: its name (another one is empty) and how long it keeps an answer."""

    name: str
    ttl_s: int


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it was given before. row: what it has of a row of `results`. job: the public id
    of the job that paid for it. saved_nusd: what it cost then.
    """

    row: Mapping[str, Any]
    job: str
    saved_nusd: int


class AnswerCache:
    """One a process, in its event loop; close it with `aclose`."""

    def __init__(self, redis: Redis, catalog_digest: str) -> None:
        self._redis = redis
        self._catalog_digest = catalog_digest
        self._wanted: list[tuple[str, asyncio.Future[KeptAnswer | None]]] = []
        self._looking: asyncio.Task[None] | None = None
        self._to_keep: list[tuple[str, bytes, int]] = []
        self._keeping: asyncio.Task[None] | None = None

    def key(self, caching: Caching, policy: RoutingPolicy, request: Request) -> str | None:
        """The name of the answer to a request; None where it is always to be asked anew."""
        if not may_repeat(request):
            return None
        # What was learned since does not make an answer another one.
        wishes = replace(policy, learned=NOTHING_LEARNED) if policy.learned.shifts else policy
        around = f"{self._catalog_digest}\n{wishes!r}".encode()
        digest = blake2b(fingerprint(request) + around, digest_size=16).hexdigest()
        return f"{_PREFIX}{caching.name}:{digest}"

    async def find(self, key: str) -> KeptAnswer | None:
        """The answer of that name, if it is still there and Redis says so."""
        found: asyncio.Future[KeptAnswer | None] = asyncio.get_running_loop().create_future()
        self._wanted.append((key, found))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await found

    def keep(self, key: str, answer: KeptAnswer, ttl_s: int) -> None:
        """Keep an answer; returns at once and never fails."""
        value = orjson.dumps(
            {"row": answer.row, "job": answer.job, "saved_nusd": answer.saved_nusd}
        )
        if len(value) > MAX_BYTES:
            return
        self._to_keep.append((key, value, ttl_s))
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Return when all answers are on their way."""
        if self._keeping is not None:
            await self._keeping

    async def _look(self) -> None:
        try:
            while self._wanted:
                taken, self._wanted = self._wanted[:_AT_ONCE], self._wanted[_AT_ONCE:]
                values = await self._values([key for key, _ in taken])
                for (_, found), value in zip(taken, values, strict=True):
                    if not found.done():
                        found.set_result(_read(value))
        finally:
            self._looking = None

    async def _values(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        try:
            values: Sequence[Any] = await self._redis.mget(keys)
        except (RedisError, OSError) as error:
            log.warning("the cache does not answer", reason=type(error).__name__)
            return [None] * len(keys)
        return values

    async def _keep(self) -> None:
        try:
            while self._to_keep:
                taken, self._to_keep = self._to_keep[:_AT_ONCE], self._to_keep[_AT_ONCE:]
                async with self._redis.pipeline(transaction=False) as pipe:
                    for key, value, ttl_s in taken:
                        pipe.set(key, value, ex=ttl_s)
                    await pipe.execute()
        except (RedisError, OSError) as error:
            self._to_keep.clear()
            log.warning("answers were not kept", reason=type(error).__name__)
        finally:
            self._keeping = None


def _read(value: bytes | None) -> KeptAnswer | None:
    if value is None:
        return None
    try:
        told = orjson.loads(value)
        return KeptAnswer(told["row"], told["job"], told["saved_nusd"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None  # of another version
