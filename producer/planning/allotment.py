"""How a batch's budget is spread before its first job runs: its curve and first price. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from producer.planning.line_costs import line_cost
from producer.planning.terms import Terms
from shared.deciding.allotting import (
    PRICES,
    Allotment,
    Curve,
    Option,
    Progress,
    allot,
    options_of,
)
from shared.deciding.estimation import demand_of, worst_cost_nusd
from shared.deciding.naming import mode_of
from shared.deciding.routing import candidates_of, route
from shared.deciding.success import success
from shared.domain.decisions import UNCLASSIFIED, Classification, Mode, Route
from shared.domain.inference import Request

LOOKED_AT: Final = 256
"""Lines that a curve is made of, at most."""


@dataclass(frozen=True, slots=True)
class Allotted:
    """A budget spread over a batch.

    last_nusd: what the cheapest call of any line may have to reserve: kept free, so that the last
    job can be begun. believed: real cost over the curve's, by what was learned.
    expected_success: the mean chance of a good answer.
    """

    cap_nusd: int
    curve: Curve
    last_nusd: int
    believed: float
    allotment: Allotment
    expected_success: float

    def told(self) -> dict[str, Any]:
        """What a plan and a report say of it."""
        return {
            "cap_nusd": self.cap_nusd,
            "gain_per_usd": self.allotment.gain_per_usd,
            "carries_all": self.allotment.carries_all,
            "expected_success": round(self.expected_success, 4),
        }

    def stored(self) -> dict[str, Any]:
        """What the maintenance finds the price again with."""
        return {
            "curve": self.curve.to_dict(),
            "last_nusd": self.last_nusd,
            "believed": self.believed,
            "cap": self.cap_nusd,
            "allotment": self.allotment.to_dict(),
        }


def allotted(
    requests: Sequence[Request], jobs: int, cap_nusd: int, terms: Terms
) -> Allotted | None:
    """The budget spread over `jobs` jobs of which these were looked at, in input order; None where
    none of them may be answered.
    """
    every = -(-len(requests) // LOOKED_AT) or 1
    looked = [_looked_at(request, terms) for request in requests[::every]]
    seen = [one for one in looked if one is not None]
    if not seen:
        return None
    curve = Curve.of([options for options, _, _ in seen])
    last = max(worst for _, worst, _ in seen)
    believed = _median([ratio for _, _, ratio in seen])
    found = allot(curve, Progress(jobs, 0, cap_nusd, 0, min(last, cap_nusd // 2)), None, believed)
    brought = curve.brought(PRICES.index(found.gain_per_usd), curve.shares)
    return Allotted(cap_nusd, curve, last, believed, found, brought)


def _looked_at(request: Request, terms: Terms) -> tuple[list[Option], int, float] | None:
    """A request's options, the most that the cheapest can cost, and by how much what was learned
    of its usual model differs from what orders models.
    """
    classification = UNCLASSIFIED
    if request.embed is None:
        classification = terms.classifier.classify(request)
    routed = route(request, classification, terms.catalog, terms.policy)
    if not isinstance(routed, Route):
        return None
    candidates = candidates_of(request, classification, terms.catalog, terms.policy)
    first = [c for c in candidates if c.model.name == routed.first_model]
    if not first:
        return None
    if mode_of(request.model) is Mode.AUTO and request.embed is None:
        options = options_of(candidates, classification)
        least = min(candidates, key=lambda c: (c.expected_nusd, c.model.name))
    else:
        chance = success(first[0], classification)
        options = [Option(routed.first_model, float(first[0].expected_nusd), chance)]
        least = first[0]
    demand = demand_of(request, classification.task_type)
    worst = worst_cost_nusd(request, demand, least.model, least.max_tokens)
    return (
        options,
        worst,
        _ratio(request, classification, routed, terms) / max(1.0, float(first[0].expected_nusd)),
    )


def _ratio(request: Request, classification: Classification, routed: Route, terms: Terms) -> float:
    """What the first call is expected to cost by what was learned, in nano-dollars."""
    cost = line_cost(
        request,
        classification,
        routed,
        terms.catalog.models,
        terms.expectations,
        terms.policy,
    )
    call = cost.calls[0]
    return call.given_nusd + call.taken_nusd


def _median(figures: Sequence[float]) -> float:
    return sorted(figures)[len(figures) // 2] or 1.0
