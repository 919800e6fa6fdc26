"""How much of each provider's limits is used now: calls under way, requests and tokens a minute.

Read from the attempts, whose ids rise with time, so that calls pay nothing for being watched. Of a
busy minute only the newest calls are read, and what they come to in a minute is told.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.db.engine import Database
from shared.db.repositories import gauges
from shared.ids import attempt_ids_from, moment_of_attempt

_MINUTE_S: Final = 60.0
_READ: Final = 20_000


@dataclass(frozen=True, slots=True)
class Use:
    """Of one provider. calls: under way. requests, tokens: a minute, of all keys together; tokens
    of calls that have ended. keys: how many were used.
    """

    calls: int = 0
    requests: int = 0
    tokens: int = 0
    keys: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The form that people and programs are shown."""
        return {
            "calls_in_flight": self.calls,
            "requests_per_minute": self.requests,
            "tokens_per_minute": self.tokens,
            "keys_in_use": self.keys,
        }


def provider_use(database: Database, clock: Callable[[], datetime]) -> Mapping[str, Use]:
    """By the providers' names; one that is not asked now has the default."""
    now = clock().timestamp()
    with database.reading() as connection:
        open_calls = {row.provider: row.count for row in gauges.calls_by_provider(connection)}
        recent = gauges.recent_calls(connection, attempt_ids_from(now - _MINUTE_S), _READ)
    scale = 1.0
    if sum(row.count for row in recent) == _READ:
        oldest = min(moment_of_attempt(row.oldest) for row in recent)
        scale = _MINUTE_S / min(_MINUTE_S, max(0.1, now - oldest))
    used: defaultdict[str, Use] = defaultdict(Use)
    for name, calls in open_calls.items():
        used[name] = Use(calls)
    for row in recent:
        so_far = used[row.provider]
        used[row.provider] = Use(
            so_far.calls,
            so_far.requests + round(row.count * scale),
            so_far.tokens + round(int(row.tokens) * scale),
            so_far.keys + 1,
        )
    return used
