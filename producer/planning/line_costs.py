"""What one line is expected to cost on its way: its first call and its climbs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import erf, exp, log, sqrt
from typing import Final

from shared.catalog.pricing import cost_nusd
from shared.catalog.spec import ModelSpec
from shared.deciding.agreement import chance_to_compare, differing, peer_for
from shared.deciding.answer_kinds import kind_of, kind_of_task
from shared.deciding.cost_tallies import FRAME_BYTES
from shared.deciding.estimation import demand_of, max_tokens_for, worst_cost_nusd
from shared.deciding.expectations import Expectation, Expectations
from shared.deciding.routing_policy import RoutingPolicy
from shared.domain.decisions import Classification, Route
from shared.domain.inference import Request, Usage

_NO_SPREAD: Final = 1e-12
_AS_LONG: Final = 0.9
"""Of the longest answers seen: a limit from there on cuts none that was not cut before."""

Group = tuple[str, str]
"""A model and a kind of answer: what is learned together, and so what is wrong together."""


@dataclass(frozen=True, slots=True)
class CallCost:
    """One possible call of a line.

    expected: of this model where this is asked for. reached: the chance that it is made.
    given_nusd: what its input costs. taken_nusd: the mean cost of its output, whose standard
    deviation is `spread_nusd`. climbed: whether it follows a weak answer. tokens: expected, input
    and output.
    """

    model: str
    expected: Expectation
    reached: float
    given_nusd: float
    taken_nusd: float
    spread_nusd: float
    climbed: bool
    tokens: float
    latency_s: float

    @property
    def group(self) -> Group:
        """The model and what was learned together of it."""
        return self.model, self.expected.group

    @property
    def mean_nusd(self) -> float:
        """What the call is expected to cost if it is made."""
        return self.given_nusd + self.taken_nusd


@dataclass(frozen=True, slots=True)
class LineCost:
    """The calls of a line in the order they would be made, and the most that they can cost."""

    calls: tuple[CallCost, ...]
    worst_nusd: int

    @property
    def mean_nusd(self) -> float:
        """What the line is expected to cost."""
        return sum(call.reached * call.mean_nusd for call in self.calls)

    @property
    def moments(self) -> tuple[float, float]:
        """The variance of its cost, and the third power of its deviation in the mean, while what
        is expected of its groups is right: over how far it may climb, and how long answers are.
        """
        mean = self.mean_nusd
        variance = third = whole = own = skewed = 0.0
        for call, after in zip_longest(self.calls, self.calls[1:]):
            whole += call.mean_nusd
            own += call.spread_nusd**2
            if call.taken_nusd > 0.0:  # as skewed as a gamma of this spread
                skewed += 2.0 * call.spread_nusd**4 / call.taken_nusd
            ends = call.reached - (after.reached if after is not None else 0.0)
            off = whole - mean
            variance += ends * (off**2 + own)
            third += ends * (off**3 + 3.0 * off * own + skewed)
        return variance, third


def line_cost(
    request: Request,
    classification: Classification,
    route: Route,
    models: Mapping[str, ModelSpec],
    expectations: Expectations,
    policy: RoutingPolicy,
) -> LineCost:
    """The cost of a request along its route, each rung asked where the one before was weak, or
    where another model that checks the first answer differs.
    """
    calls: list[CallCost] = []
    reached, worst, first_weak = 1.0, 0, 0.0
    demand = demand_of(request, classification.task_type)
    check = _check_of(request, classification, route, models, policy) if policy.agreement else None
    size = max(1, len(request.to_json()) - FRAME_BYTES)
    kind = kind_of_task(classification.task_type)
    if request.embed is None:
        kind = kind_of(request, classification.task_type)
    firsts = [rung.models[0] for rung in route.rungs[: route.max_climbs + 1]]
    if check is not None:
        firsts.insert(1, check.peer)
    for place, name in enumerate(firsts):
        model = models[name]
        limit = max_tokens_for(request, demand, model, policy.default_max_tokens)
        limit = policy.default_max_tokens if limit is None else limit
        expected = expectations.of(model.name, model.tier, kind)
        given = demand.input_tokens
        if request.embed is None:
            given = max(1, round(size * expected.tokens_per_byte))
        mean = deviation = 0.0
        if demand.output_tokens > 0:  # an embedding writes nothing
            expected, mean, deviation = answer_within(expected, limit)
        nothing = cost_nusd(model.price, Usage(input_tokens=given))
        full = cost_nusd(
            model.price, Usage(input_tokens=given, output_tokens=max(1, limit) * demand.choices)
        )
        per_token = (full - nothing) / max(1, limit)
        calls.append(
            CallCost(
                model=model.name,
                expected=expected,
                reached=reached,
                given_nusd=nothing,
                taken_nusd=per_token * mean,
                spread_nusd=per_token * deviation / sqrt(demand.choices),
                climbed=place > (check is not None),
                tokens=given + mean * demand.choices,
                latency_s=expected.latency_s or model.latency_s,
            )
        )
        worst += worst_cost_nusd(request, demand, model, limit)
        if check is None or place > 1:
            reached *= expected.weak
        elif place == 0:
            first_weak = expected.weak
            reached = (1.0 - first_weak) * check.made
        else:
            reached = first_weak + (1.0 - first_weak) * check.climbs
    # How a line's cost varies is told as if whoever makes a later call made all before it.
    calls.sort(key=lambda call: -call.reached)
    return LineCost(tuple(calls), worst)


@dataclass(frozen=True, slots=True)
class _Check:
    """A second answer beside the first. made: the chance that an accepted answer is checked at
    all; climbs: that it is followed by a stronger model's.
    """

    peer: str
    made: float
    climbs: float


def _check_of(
    request: Request,
    classification: Classification,
    route: Route,
    models: Mapping[str, ModelSpec],
    policy: RoutingPolicy,
) -> _Check | None:
    """Who would check the first answer, if anybody, as the worker decides it."""
    made = chance_to_compare(request, classification.task_type)
    if made == 0.0 or route.max_climbs < 1 or len(route.rungs) < 2:  # noqa: PLR2004  none above
        return None
    first, *others = (models[name] for name in route.rungs[0].models if name in models)
    stronger = models[route.rungs[1].models[0]]
    demand = demand_of(request, classification.task_type)
    whom = (first, others, stronger)
    limit = policy.default_max_tokens
    peer = peer_for(request, classification, demand, whom, limit, policy.learned)
    if peer is None:
        return None
    differs = differing(first, classification, policy.learned)
    # What had to be checked and cannot be compared climbs as well.
    return _Check(peer, made, made * differs + (1.0 - made) * route.is_checked)


def answer_within(expected: Expectation, limit: int) -> tuple[Expectation, float, float]:
    """What is expected once some answers are cut by a limit, which makes them weak; and the mean
    and standard deviation of an answer's tokens under it. limit: positive.
    """
    mean = expected.output_tokens
    if limit >= _AS_LONG * expected.longest:
        # What was learned was cut by such a limit, too.
        return expected, min(mean, float(limit)), expected.spread * mean
    within, common = log(1.0 + expected.spread**2), expected.doubt**2
    middle = log(mean) - within / 2.0
    cut = 1.0 - _normal((log(limit) - middle) / max(_NO_SPREAD, sqrt(within + common)))
    weak = expected.weak + (1.0 - expected.weak) * cut
    # How many are cut is as uncertain as their common length is.
    doubt = (expected.weak * expected.weak_doubt) ** 2
    doubt += cut * (1.0 - cut) * common / max(_NO_SPREAD, within + common)
    told = replace(expected, weak=weak, weak_doubt=sqrt(doubt) / weak)
    return told, *cut_lognormal(mean, expected.spread, float(limit))


def cut_lognormal(mean: float, spread: float, limit: float) -> tuple[float, float]:
    """Mean and standard deviation of min(X, limit) for a lognormal X of this mean, whose standard
    deviation is `spread` times as much. All positive.
    """
    variance = log(1.0 + spread**2)
    if variance < _NO_SPREAD:
        return min(mean, limit), 0.0
    deviation = sqrt(variance)
    middle = log(mean) - variance / 2.0
    edge = (log(limit) - middle) / deviation
    above = 1.0 - _normal(edge)
    first = mean * _normal(edge - deviation) + limit * above
    squares = exp(2.0 * middle + 2.0 * variance) * _normal(edge - 2.0 * deviation)
    second = squares + limit**2 * above
    return first, sqrt(max(0.0, second - first**2))


def _normal(z: float) -> float:
    return 0.5 * (1.0 + erf(z / sqrt(2.0)))
