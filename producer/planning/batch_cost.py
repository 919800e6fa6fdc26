"""How a batch's cost is distributed: the sum of its lines, and what they have in common. Pure.

Lines vary each for itself, which a long batch averages out. What it does not average out is shared:
how long this batch's answers are beside those of other batches, and what is not known of a group (a
model on a task type). The sum is taken as a lognormal beside a fixed part, the input; its 95th
percentile is that of Student's t where the spread between batches is known from few batches.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Final

from producer.planning.line_costs import Group, LineCost
from shared.deciding.expectations import Expectations

_Z95: Final = 1.6448536
# How much of a batch's deviation all its groups share: between none (each by itself) and all.
_SHARED: Final = 0.5
# Of a logarithm: beyond it nothing is known but the order of magnitude.
_LARGEST: Final = 4.0


@dataclass(frozen=True, slots=True)
class BatchCost:
    """What a batch is expected to cost, in nano-dollars: the middle, what 95 of 100 batches stay
    below, and what its first calls and climbs can cost at most.
    """

    p50: int
    p95: int
    worst: int


def batch_cost(examined: Iterable[LineCost], lines: int, expectations: Expectations) -> BatchCost:
    """The cost of a batch of `lines` lines, of which these were looked at, evenly spread."""
    seen = list(examined)
    if not seen or lines < 1:
        return BatchCost(0, 0, 0)
    scale = lines / len(seen)
    fixed = scale * sum(call.reached * call.given_nusd for one in seen for call in one.calls)
    middle = scale * sum(one.mean_nusd for one in seen) - fixed
    worst = round(scale * sum(one.worst_nusd for one in seen))
    if middle <= 0.0:
        return BatchCost(min(round(fixed), worst), min(round(fixed), worst), worst)
    own = scale * sum(one.variance for one in seen) + _of_sampling(seen, lines)
    shared = scale**2 * _in_common(seen, expectations)
    log_shared = min(_LARGEST, shared / middle**2)
    log_own = log(1.0 + own / (middle**2 * exp(log_shared)))
    # The middle of the shared part is what was learned; a sum's own median lies below its mean.
    p50 = fixed + middle * exp(-log_own / 2.0)
    total = log_shared + log_own
    z = _students(expectations.degrees * (total / log_shared) ** 2 if log_shared else 1e9)
    p95 = fixed + middle * exp(-log_own / 2.0 + z * sqrt(total))
    return BatchCost(min(round(p50), worst), min(round(p95), worst), worst)


def _in_common(seen: Iterable[LineCost], expectations: Expectations) -> float:
    """The variance of what a batch's lines share, as far as they were looked at."""
    taken: dict[Group, float] = defaultdict(float)
    climbed: dict[Group, float] = defaultdict(float)
    for one in seen:
        before: Group | None = None
        for call in one.calls:
            taken[call.group] += call.reached * call.taken_nusd
            if before is not None:
                climbed[before] += call.reached * (call.given_nusd + call.taken_nusd)
            before = call.group
    spread = expectations.batch_spread
    together = (spread * sum(taken.values())) ** 2
    apart = sum((spread * cost) ** 2 for cost in taken.values())
    unknown = sum((expectations.of(*group).doubt * cost) ** 2 for group, cost in taken.items())
    weak = sum((expectations.of(*group).weak_doubt * cost) ** 2 for group, cost in climbed.items())
    return _SHARED * together + (1.0 - _SHARED) * apart + unknown + weak


def _of_sampling(seen: list[LineCost], lines: int) -> float:
    """The variance of the sum that comes from having looked at a part of the lines only."""
    count = len(seen)
    if count in (1, lines):
        return 0.0
    means = [one.mean_nusd for one in seen]
    middle = sum(means) / count
    between = sum((mean - middle) ** 2 for mean in means) / (count - 1)
    return lines**2 * (1.0 - count / lines) * between / count


def _students(degrees: float) -> float:
    """The 95th percentile of Student's t, by its expansion around the normal's (within 1 % from
    three degrees of freedom on).
    """
    z = _Z95
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    return z + first / degrees + second / degrees**2
