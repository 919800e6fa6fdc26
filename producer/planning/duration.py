"""How long a batch takes: its calls under the providers' limits and in the places there are. Pure.

Alone: what other batches keep busy is not in it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from producer.planning.line_costs import LineCost
from shared.catalog.spec import Catalog


@dataclass(frozen=True, slots=True)
class Room:
    """Where calls can be made from here.

    places: calls in flight at once, of all workers. keys: how many keys each provider has here; a
    limit holds per key. A provider that is not named has one.
    """

    places: int
    keys: Mapping[str, int]


@dataclass(slots=True)
class _Load:
    calls: float = 0.0
    tokens: float = 0.0
    busy_s: float = 0.0


def seconds_for(examined: Iterable[LineCost], lines: int, catalog: Catalog, room: Room) -> float:
    """Seconds until a batch of `lines` lines is done, of which these were looked at: whichever is
    longest of one line's own calls, the work of all places, and each provider's limits.
    """
    seen = list(examined)
    if not seen or lines < 1:
        return 0.0
    scale = lines / len(seen)
    loads: dict[str, _Load] = defaultdict(_Load)
    for one in seen:
        for call in one.calls:
            load = loads[catalog.models[call.model].provider]
            load.calls += scale * call.reached
            load.tokens += scale * call.reached * call.tokens
            load.busy_s += scale * call.reached * call.latency_s
    longest = sum(sum(c.reached * c.latency_s for c in one.calls) for one in seen) / len(seen)
    everywhere = sum(load.busy_s for load in loads.values()) / max(1, room.places)
    limited = (_under_limits(load, catalog, name, room) for name, load in loads.items())
    return max(longest, everywhere, *limited)


def _under_limits(load: _Load, catalog: Catalog, name: str, room: Room) -> float:
    provider = catalog.providers[name]
    keys = max(1, room.keys.get(name, 1))
    seconds = [0.0]
    if provider.rpm is not None:
        seconds.append(load.calls / (keys * provider.rpm) * 60.0)
    if provider.tpm is not None:
        seconds.append(load.tokens / (keys * provider.tpm) * 60.0)
    if provider.max_concurrency is not None:
        seconds.append(load.busy_s / (keys * provider.max_concurrency))
    return max(seconds)
