"""What the calls beside a line's own are expected to cost: a label where the classifier guesses,
and a grade by the project's rubric. Pure.
"""

from collections.abc import Iterator

from producer.planning.line_costs import CallCost, LineCost
from shared.catalog.pricing import cost_nusd
from shared.catalog.spec import Catalog
from shared.deciding import classify_asked, rubric
from shared.deciding.answer_kinds import kind_of_task
from shared.deciding.estimation import demand_of, worst_cost_nusd
from shared.deciding.expectations import Expectations
from shared.deciding.routing_policy import RoutingPolicy
from shared.domain.decisions import Classification, Mode, Route
from shared.domain.inference import Request, TaskType, Usage

_LABEL_TOKENS = 25.0
_GRADE_TOKENS = 45.0
_SPREAD = 0.4  # of such an answer's tokens, as a share of their mean
_BYTES_PER_TOKEN = 4.0


def with_asides(
    cost: LineCost,
    request: Request,
    classification: Classification,
    route: Route,
    catalog: Catalog,
    expectations: Expectations,
    policy: RoutingPolicy,
) -> LineCost:
    """A line's cost with those of the calls beside it that the project's policy may order."""
    calls, worst = list(cost.calls), cost.worst_nusd
    for wish, asked, reached, tokens in _asides(cost, request, classification, route, policy):
        demand = demand_of(asked, TaskType.SIMPLE_QA)
        limit = asked.max_tokens or classify_asked.ANSWER_TOKENS
        model = classify_asked.asker_of(wish, demand, limit, catalog, policy)
        if model is None:
            continue
        given = cost_nusd(model.price, Usage(input_tokens=demand.input_tokens))
        full = cost_nusd(model.price, Usage(input_tokens=demand.input_tokens, output_tokens=limit))
        taken = (full - given) * tokens / limit
        kind = kind_of_task(classification.task_type)
        calls.append(
            CallCost(
                model=model.name,
                expected=expectations.of(model.name, model.tier, kind),
                reached=reached,
                given_nusd=given,
                taken_nusd=taken,
                spread_nusd=_SPREAD * taken,
                climbed=False,
                tokens=demand.input_tokens + tokens,
                latency_s=model.latency_s,
            )
        )
        worst += worst_cost_nusd(asked, demand, model, limit)
    calls.sort(key=lambda call: -call.reached)
    return LineCost(tuple(calls), worst)


def _asides(
    cost: LineCost,
    request: Request,
    classification: Classification,
    route: Route,
    policy: RoutingPolicy,
) -> Iterator[tuple[str, Request, float, float]]:
    """Who is asked, what, with which chance, and how many tokens the answer has."""
    if (
        policy.classify_with is not None
        and request.embed is None
        and route.mode not in {Mode.MANUAL, Mode.BEST}
        and classification.confidence < policy.classify_below
    ):
        asked = classify_asked.label_request(request)
        yield policy.classify_with, asked, 1.0, _LABEL_TOKENS
    by = policy.rubric
    if by is not None and not request.stream and route.max_climbs > 0 and len(route.rungs) > 1:
        first = cost.calls[0].expected
        answer = "x" * round(first.output_tokens * _BYTES_PER_TOKEN)
        asked = rubric.grade_request(by, request, answer)
        yield by.judge, asked, by.share * (1.0 - first.weak), _GRADE_TOKENS
