"""What one line is expected to cost on its way: its first call and its climbs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import erf, exp, log, sqrt
from typing import Final

from shared.catalog.pricing import cost_nusd
from shared.catalog.spec import ModelSpec
from shared.deciding.estimation import demand_of, max_tokens_for, worst_cost_nusd
from shared.deciding.expectations import FRAME_BYTES, Expectation, Expectations
from shared.domain.decisions import Classification, Route
from shared.domain.inference import Request, TaskType, Usage

_NO_SPREAD: Final = 1e-12

Group = tuple[str, TaskType]
"""A model on a task type: what expectations are learned for, and so what is wrong together."""


@dataclass(frozen=True, slots=True)
class CallCost:
    """One possible call of a line.

    reached: the chance that it is made. given_nusd: what its input costs. taken_nusd: the mean cost
    of its output, whose standard deviation is `spread_nusd`. climbed: whether it follows a weak
    answer. tokens: expected, input and output.
    """

    group: Group
    reached: float
    given_nusd: float
    taken_nusd: float
    spread_nusd: float
    climbed: bool
    tokens: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class LineCost:
    """The calls of a line in the order they would be made, and the most that they can cost."""

    calls: tuple[CallCost, ...]
    worst_nusd: int

    @property
    def mean_nusd(self) -> float:
        """What the line is expected to cost."""
        return sum(call.reached * (call.given_nusd + call.taken_nusd) for call in self.calls)

    @property
    def variance(self) -> float:
        """Of its cost, while what is expected of its groups is right."""
        return sum(
            call.reached * (call.spread_nusd**2 + whole**2) - (call.reached * whole) ** 2
            for call in self.calls
            for whole in (call.given_nusd + call.taken_nusd,)
        )


def line_cost(
    request: Request,
    classification: Classification,
    route: Route,
    models: Mapping[str, ModelSpec],
    expectations: Expectations,
    default_max_tokens: int,
) -> LineCost:
    """The cost of a request along its route, each rung asked where the one before was weak."""
    calls: list[CallCost] = []
    reached, worst = 1.0, 0
    demand = demand_of(request, classification.task_type)
    size = max(1, len(request.to_json()) - FRAME_BYTES)
    for place, rung in enumerate(route.rungs[: route.max_climbs + 1]):
        model = models[rung.models[0]]
        limit = max_tokens_for(request, demand, model, default_max_tokens)
        limit = default_max_tokens if limit is None else limit
        expected = expectations.of(model.name, classification.task_type)
        given = demand.input_tokens
        if request.embed is None:
            given = max(1, round(size * expected.tokens_per_byte))
        mean, deviation = _answer(expected, limit, demand.output_tokens)
        nothing = cost_nusd(model.price, Usage(input_tokens=given))
        full = cost_nusd(
            model.price, Usage(input_tokens=given, output_tokens=max(1, limit) * demand.choices)
        )
        per_token = (full - nothing) / max(1, limit)
        calls.append(
            CallCost(
                group=(model.name, classification.task_type),
                reached=reached,
                given_nusd=nothing,
                taken_nusd=per_token * mean,
                spread_nusd=per_token * deviation / sqrt(demand.choices),
                climbed=place > 0,
                tokens=given + mean * demand.choices,
                latency_s=expected.latency_s or model.latency_s,
            )
        )
        worst += worst_cost_nusd(request, demand, model, limit)
        reached *= expected.weak
    return LineCost(tuple(calls), worst)


def _answer(expected: Expectation, limit: int, asked: int) -> tuple[float, float]:
    """Mean and standard deviation of an answer's tokens, cut at the limit; none are written where
    none are asked for (`asked`: what a request of this kind is answered with by default).
    """
    if asked == 0 or limit < 1:
        return 0.0, 0.0
    return cut_lognormal(expected.output_tokens, expected.spread, float(limit))


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
