"""How a batch's cost is distributed: the sum of its lines, and what they have in common. Pure.

Lines vary each for itself, which a long batch averages out. What it does not average out is shared:
how long this batch's answers are beside those of other batches, and what is not known of a group (a
model on a kind of answer). The sum is skewed by its rare climbs to a dearer model; what is shared
is taken as a lognormal, whose 95th percentile is that of Student's t where the spread between
batches is known from few batches.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Final

from producer.planning.line_costs import CallCost, Group, LineCost
from shared.deciding.expectations import Expectation

_Z95: Final = 1.6448536
# How much of a batch's deviation all its groups share: between none (each by itself) and all.
_SHARED: Final = 0.5
# How much of what is not known of a kind of answer is so for all models.
_ALIKE: Final = 0.7
_WEAK_ALIKE: Final = 0.3  # and of how often answers are refused
# Of a logarithm: beyond it nothing is known but the order of magnitude.
_LARGEST: Final = 4.0
_FARTHEST: Final = 12.0
_MOST_SKEW: Final = 6.0
_LEAST_MIDDLE: Final = 0.2  # of the mean
_TINY: Final = 1e-9
_CERTAIN: Final = 1e9  # degrees of freedom


@dataclass(frozen=True, slots=True)
class BatchCost:
    """What a batch is expected to cost, in nano-dollars: the middle, what 95 of 100 batches stay
    below, and what its first calls and climbs can cost at most.
    """

    p50: int
    p95: int
    worst: int


def batch_cost(examined: Iterable[LineCost], lines: int) -> BatchCost:
    """The cost of a batch of `lines` lines, of which these were looked at, evenly spread."""
    seen = list(examined)
    if not seen or lines < 1:
        return BatchCost(0, 0, 0)
    scale = lines / len(seen)
    # What each line's first call reads is certain.
    fixed = scale * sum(one.calls[0].given_nusd for one in seen)
    mean = scale * sum(one.mean_nusd for one in seen) - fixed
    worst = round(scale * sum(one.worst_nusd for one in seen))
    if mean <= 0.0:
        return BatchCost(min(round(fixed), worst), min(round(fixed), worst), worst)
    moments = [one.moments for one in seen]
    own = scale * sum(variance for variance, _ in moments) + _of_sampling(seen, lines)
    third = scale * sum(third for _, third in moments)
    shared, degrees = _in_common(seen)
    log_shared = min(_LARGEST, shared * scale**2 / mean**2)
    # The middle of the shared part is what was learned; a skewed sum's own median lies below its
    # mean, its 95th percentile above that of a normal sum (the first terms of Cornish and Fisher).
    deviation = sqrt(own)
    skew = min(_MOST_SKEW, third / max(_TINY, own * deviation))
    unclimbed = scale * sum(one.calls[0].taken_nusd for one in seen)
    middle = max(mean - skew * deviation / 6.0, unclimbed, _LEAST_MIDDLE * mean)
    above = mean + deviation * (_Z95 + skew * (_Z95**2 - 1.0) / 6.0)
    log_own = log(max(1.0, above / middle))
    log_total = sqrt(log_own**2 + _students(degrees) ** 2 * log_shared)
    p50, p95 = fixed + middle, fixed + middle * exp(min(_FARTHEST, log_total))
    return BatchCost(min(round(p50), worst), min(round(p95), worst), worst)


def _in_common(seen: Iterable[LineCost]) -> tuple[float, float]:
    """The variance of what a batch's lines share, as far as they were looked at; and how many
    batches it is known from.
    """
    taken: dict[Group, float] = defaultdict(float)
    climbed: dict[Group, float] = defaultdict(float)
    of: dict[Group, CallCost] = {}
    for one in seen:
        before: CallCost | None = None
        for call in one.calls:
            of.setdefault(call.group, call)
            taken[call.group] += call.reached * call.taken_nusd
            if before is not None:
                climbed[before.group] += call.reached * call.mean_nusd
            before = call
    expected = {group: call.expected for group, call in of.items()}
    between = {group: expected[group].between * cost for group, cost in taken.items()}
    together = sum(between.values()) ** 2
    apart = sum(cost**2 for cost in between.values())
    unknown = _unknown(taken, expected)
    # Where answers are refused more often than known, they are so of most models and kinds.
    doubts = [expected[group].weak_doubt * cost for group, cost in climbed.items()]
    weak = _WEAK_ALIKE * sum(doubts) ** 2
    weak += (1.0 - _WEAK_ALIKE) * sum(doubt**2 for doubt in doubts)
    shared = _SHARED * together + (1.0 - _SHARED) * apart
    total = shared + unknown + weak
    if shared <= _TINY * max(1.0, total):
        return total, _CERTAIN
    weights = sum(between.values())
    known = sum(expected[group].degrees * cost for group, cost in between.items()) / weights
    # Only the part that is estimated from batches has so few degrees of freedom.
    return total, known * (total / shared) ** 2


def _unknown(taken: dict[Group, float], expected: dict[Group, Expectation]) -> float:
    """The variance of what is not known of how long answers are, mostly alike for all models."""
    by_kind: dict[str, float] = defaultdict(float)
    apart = 0.0
    for group, cost in taken.items():
        off = expected[group].doubt * cost
        by_kind[expected[group].group] += off
        apart += off**2
    together = sum(off**2 for off in by_kind.values())
    return _ALIKE * together + (1.0 - _ALIKE) * apart


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
