"""What a running batch will cost: what was predicted, and what its own answers say since. Pure.

The first answers tell how much dearer this batch is than was expected, and the rest is expected to
be so, too: the more of it is done the more that counts, and the narrower the range gets. Lines run
about in the file's order, so a file whose hard lines come last is told too cheap at first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Any, Final

from shared.domain.money import usd_from_nusd

_Z95: Final = 1.6448536
# Standard deviation of a job's cost as a share of it: rare climbs to a dearer model make it large.
_JOBS_APART: Final = 2.0
# Of a logarithm: how far the rest of a file may lie from what has been done of it.
_PARTS_APART: Final = 0.15
_LEAST_SPREAD: Final = 0.05


@dataclass(frozen=True, slots=True)
class SoFar:
    """How far a batch is. jobs: that are asked in all; ended: of them. elapsed_s: since the first
    could run.
    """

    jobs: int
    ended: int
    spent_nusd: int
    elapsed_s: float


def in_the_end(expected: Mapping[str, int], seconds: float, so_far: SoFar) -> dict[str, Any]:
    """Cost in the end, `p50` and `p95` in nano-dollars and USD, and the seconds left. expected: the
    first prediction's p50, p95 and worst; seconds: how long it said the batch takes.
    """
    p50, p95 = max(1, expected["p50"]), max(1, expected["p95"])
    rest = max(0, so_far.jobs - so_far.ended)
    share = rest / max(1, so_far.jobs)
    ratio, variance = 0.0, max(_LEAST_SPREAD, log(max(1.0, p95 / p50)) / _Z95) ** 2
    if so_far.ended > 0 and so_far.spent_nusd > 0:
        seen = log(so_far.spent_nusd / (p50 * (1.0 - share)))
        noise = _JOBS_APART**2 / so_far.ended + _PARTS_APART**2 * share
        ratio = seen * variance / (variance + noise)
        variance = variance * noise / (variance + noise)
    middle = p50 * share * exp(ratio)
    spread = sqrt(variance + _JOBS_APART**2 / rest) if rest else 0.0
    figures = {
        "p50": so_far.spent_nusd + round(middle),
        "p95": so_far.spent_nusd + round(middle * exp(_Z95 * spread)),
    }
    return {
        "cost_nusd": figures,
        "cost_usd": {name: usd_from_nusd(nusd) for name, nusd in figures.items()},
        "seconds_left": round(_left(seconds, so_far, share), 1),
    }


def _left(seconds: float, so_far: SoFar, share: float) -> float:
    """By the pace so far, and by the first prediction as long as little is done."""
    planned = seconds * share
    if not so_far.ended or so_far.elapsed_s <= 0.0:
        return planned
    paced = so_far.elapsed_s * share / (1.0 - share)
    return share * planned + (1.0 - share) * paced
