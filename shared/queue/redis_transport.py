"""Kombu's Redis transports, mended: a closed channel fails as a lost connection does.

When the broker dies while a chunk is in work, Kombu (5.7) closes the channel and lets go of its
address. Closing it a second time, and the chunk's later acknowledgement, then look that address up
and raise AttributeError, which nobody expects: the whole worker ended with exit code 1. As a
connection error it is ignored where a channel is closed and logged where a chunk is acknowledged;
the worker reconnects, and leases rescue what the lost channel held.
"""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError


class _FailsAsDisconnected:
    connection: Any

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("this channel lost its connection and is closed")
        return super()._connparams(asynchronous)  # type: ignore[misc]


class Channel(_FailsAsDisconnected, kombu_redis.Channel):
    """A channel to one server."""


class SentinelChannel(_FailsAsDisconnected, kombu_redis.SentinelChannel):
    """A channel to the primary that the sentinels name."""


class Transport(kombu_redis.Transport):
    """For `redis://`, `rediss://` and `unix://`."""

    Channel = Channel


class SentinelTransport(kombu_redis.SentinelTransport):
    """For `sentinel://`."""

    Channel = SentinelChannel


def use_for_redis_urls() -> None:
    """From now on, connections of this process that Kombu makes to such URLs are these."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:{SentinelTransport.__name__}"
