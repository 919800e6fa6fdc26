"""How each provider key is doing, as all workers share it in Redis: the values and their reader.

One hash holds a field per key: `<provider>:<8 hex of the key's SHA-256>`, never the key. Workers
write it (compare-and-set); the API only reads. Losing it loses nothing: every key starts afresh.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, cast

import orjson
from redis import Redis
from redis.exceptions import RedisError

from shared.errors import UnavailableError

KEY = "{promptmill}:health"
"""The Redis hash. Times in it are integer milliseconds of the Redis server's clock."""


class KeyState(StrEnum):
    """Whether a key may be used. Open and paused keys are tried again by one probe when due."""

    CLOSED = "closed"
    OPEN = "open"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class KeyHealth:
    """A key's health; the default is that of a key nothing is known about.

    failures: consecutive ones. trips: how often it opened in a row. due_ms: when an open or paused
    key may be probed. cooldown_ms: until when the provider asked everybody to wait. probe: the
    token of the probe under way, valid until probe_ms.
    """

    state: KeyState = KeyState.CLOSED
    failures: int = 0
    trips: int = 0
    due_ms: int = 0
    cooldown_ms: int = 0
    probe: str = ""
    probe_ms: int = 0
    reason: str = ""

    def to_json(self) -> bytes:
        """The stored form; equal values have equal bytes."""
        return orjson.dumps(self, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, stored: bytes | None) -> "KeyHealth":
        """The value of a field; what is missing or unreadable is a key nothing is known about."""
        if not stored:
            return cls()
        try:
            raw: dict[str, Any] = orjson.loads(stored)
            return cls(**{**raw, "state": KeyState(raw["state"])})
        except (ValueError, TypeError, KeyError):
            return cls()

    def to_dict(self) -> dict[str, Any]:
        """The form that people and programs are shown."""
        return {
            "state": "probing" if self.probe else self.state.value,
            "consecutive_failures": self.failures,
            "retry_at": _iso(self.due_ms) if self.state is not KeyState.CLOSED else None,
            "cooling_down_until": _iso(self.cooldown_ms) if self.cooldown_ms else None,
            "reason": self.reason or None,
        }


WELL: Final = KeyHealth()
"""The health of a key nothing is known about."""


def parse_all(fields: Mapping[bytes, bytes]) -> dict[str, KeyHealth]:
    """The hash as Redis returns it -> health by key id."""
    return {key.decode(): KeyHealth.from_json(value) for key, value in fields.items()}


def read_all(redis: Redis) -> dict[str, KeyHealth]:
    """The health of every key that is or lately was in trouble; absent means healthy.

    Raises UnavailableError when Redis does not answer.
    """
    try:
        fields = cast("Mapping[bytes, bytes]", redis.hgetall(KEY))
    except (RedisError, OSError) as error:
        raise UnavailableError(f"Redis does not answer: {type(error).__name__}") from error
    return parse_all(fields)


def _iso(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat()
