"""Clients for Redis or Valkey: one way to connect, one way to map its errors.

A command that got no answer is sent once more, so whatever goes through these clients must bear
being done twice; every script of ours does.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
from redis import exceptions as refusals
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from shared.errors import ConfigurationError, UnavailableError
from shared.settings import Settings

COMMAND_TIMEOUT_S = 5.0
"""A blocking command (BLPOP and its like) must wait for less than this."""

_CONNECT_TIMEOUT_S = 2.0
_RETRY_PAUSE_S = 0.05
_FORGOTTEN_AFTER_S = 0.5
_UNANSWERED = (
    refusals.ConnectionError,
    refusals.TimeoutError,
    refusals.BusyLoadingError,
    refusals.ReadOnlyError,
    refusals.OutOfMemoryError,
    refusals.ClusterDownError,
    refusals.MasterDownError,
    refusals.TryAgainError,
)


def connect(settings: Settings, *, timeout_s: float = COMMAND_TIMEOUT_S) -> redis.Redis:
    """A client with a pool of its own, thread-safe; replies are bytes. Connects at first use.
    timeout_s: how long it waits for an answer, each of the two times that it asks.

    Raises ConfigurationError for a URL that is none.
    """
    retry = Retry(ConstantBackoff(_RETRY_PAUSE_S), 1)
    options = _options(settings) | {"socket_timeout": timeout_s}
    with _readable_url_errors():
        return redis.Redis.from_url(settings.resolved_redis_url, **options, retry=retry)


def connect_async(settings: Settings) -> redis.asyncio.Redis:
    """The same for asyncio; belongs to the loop that uses it first."""
    retry = AsyncRetry(ConstantBackoff(_RETRY_PAUSE_S), 1)
    with _readable_url_errors():
        return redis.asyncio.Redis.from_url(
            settings.resolved_redis_url, **_options(settings), retry=retry
        )


@contextmanager
def mapped_redis_errors() -> Iterator[None]:
    """Map a server that does not answer or cannot serve to UnavailableError; as `with`, or as a
    decorator of a synchronous function. Mistakes of ours (wrong types, scripts) stay themselves.
    """
    try:
        yield
    except refusals.AuthenticationError as error:
        raise UnavailableError("Redis refuses the password in PROMPTMILL_REDIS_URL") from error
    except _UNANSWERED as error:
        raise UnavailableError(f"Redis does not answer: {_reason(error)}") from error
    except refusals.ResponseError as error:
        # A primary without enough replicas (`min-replicas-to-write`): it may not be one any more.
        if "NOREPLICAS" not in str(error):
            raise
        raise UnavailableError(f"Redis takes no writes: {_reason(error)}") from error


def _options(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "decode_responses": False,
        "socket_timeout": COMMAND_TIMEOUT_S,
        "health_check_interval": 15,
        "client_name": "promptmill",
    }
    if not settings.resolved_redis_url.startswith("unix:"):
        options |= {"socket_connect_timeout": _CONNECT_TIMEOUT_S, "socket_keepalive": True}
    return options


def _reason(error: refusals.RedisError) -> str:
    # The driver's messages name host and port, never the password.
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__


@contextmanager
def _readable_url_errors() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ConfigurationError(
            "PROMPTMILL_REDIS_URL is not a Redis URL: it begins with redis://, rediss:// or unix://"
        ) from error


async def stopped(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks that use these clients until they have ended; how they ended is left to them.

    Once is not always enough: the client sends commands under `asyncio.wait_for`, which before
    Python 3.12 forgets a cancellation that comes in the moment in which the command is sent
    (https://github.com/python/cpython/issues/86296).
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_FORGOTTEN_AFTER_S)
    await asyncio.gather(*tasks, return_exceptions=True)
