"""What can be compared, and when a second answer pays."""

from dataclasses import replace

import pytest

from shared.deciding.agreement import key_for, peer_for, verdict_of
from shared.deciding.estimation import demand_of
from shared.deciding.project_policy import policy_of
from shared.deciding.routing import route
from shared.deciding.routing_policy import Learned
from shared.domain.decisions import Classification, Route, Verdict
from shared.domain.inference import Request, TaskType, Tier
from tests.unit.deciding.conftest import catalog_of, model

ASKED = Request(messages=({"role": "user", "content": "What is 6 times 7?"},))
QUESTION = Classification(TaskType.SIMPLE_QA, 0.3, 0.9)
FIRST = model("small", Tier.CHEAP, 100, 0.6)
OTHER = model("other", Tier.CHEAP, 120, 0.6)
STRONG = model("large", Tier.HIGH, 5_000, 0.9)
ESSAY = "Mills were built by rivers. " * 20 + "The last one closed in 1912."


def peer(*others: object, strong: object = STRONG, request: Request = ASKED) -> str | None:
    demand = demand_of(request, QUESTION.task_type)
    return peer_for(request, QUESTION, demand, (FIRST, others, strong), 1024)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "task_type", "said"),
    [
        ("42", TaskType.SIMPLE_QA, "42"),
        ("So it adds up. The answer is (B).", TaskType.ANALYSIS, "B"),
        (ESSAY, TaskType.SIMPLE_QA, None),
        (ESSAY, TaskType.ANALYSIS, None),
        ("First 6 of them, then 36 more. " * 4 + "#### 42", TaskType.COMPLEX_REASONING, "42"),
        ("42", TaskType.CREATIVE, None),
        ("", TaskType.SIMPLE_QA, None),
    ],
)
def test_only_answers_that_can_be_compared_have_a_key(
    text: str, task_type: TaskType, said: str | None
):
    assert key_for(ASKED, text, task_type) == said


def test_json_is_compared_whatever_the_task():
    wanted = replace(ASKED, response_format={"type": "json_object"})
    one = key_for(wanted, '{"a": 1, "b": 2}', TaskType.CODING)
    assert one == key_for(wanted, '{"b":2,"a":1}', TaskType.CODING) is not None


def test_the_cheapest_other_model_of_the_tier_is_asked_else_the_same_where_it_varies():
    dear = model("dear", Tier.CHEAP, 400, 0.7)
    assert peer(dear, OTHER) == "other"
    assert peer() == "small"
    assert peer(request=replace(ASKED, temperature=0.0)) is None


def test_two_cheap_calls_that_cost_as_much_as_the_strong_one_do_not_pay():
    assert peer(OTHER, strong=model("middle", Tier.MID, 200, 0.8)) is None
    assert peer(OTHER, strong=model("middle", Tier.MID, 1_000, 0.8)) == "other"


def test_a_prompt_starts_lower_only_where_two_that_agree_are_as_good_and_cheaper():
    hard = Classification(TaskType.COMPLEX_REASONING, 0.55, 0.95)
    middle = model("middle", Tier.MID, 1_000, 0.75)
    catalog = catalog_of(FIRST, OTHER, middle, STRONG)
    policy = policy_of(catalog.routing, {"agreement": "auto"})

    def routed(request: Request = ASKED, kind: Classification = hard, **models: object) -> Route:
        found = route(request, kind, catalog_of(*models.values()) if models else catalog, policy)  # type: ignore[arg-type]
        assert isinstance(found, Route)
        return found

    low = routed()
    assert low.is_checked
    assert [rung.models for rung in low.rungs] == [("small", "other"), ("middle",), ("large",)]
    assert low.max_climbs == 2
    assert "two answers that agree" in low.reasons[-1]
    assert Route.from_dict(low.to_dict()) == low
    # Not what cannot be compared, nor what is streamed, nor where two calls cost as much as one.
    writing = replace(hard, task_type=TaskType.CREATIVE)
    assert not routed(kind=writing).is_checked
    assert not routed(replace(ASKED, stream=True)).is_checked
    near = model("middle", Tier.MID, 150, 0.75)
    assert not routed(first=FIRST, other=OTHER, near=near).is_checked
    # Nor where the weak are too weak for their agreement to say enough.
    poor = [model(name, Tier.CHEAP, 100, 0.05) for name in ("poor", "poorer")]
    assert not routed(one=poor[0], other=poor[1], middle=middle).is_checked
    # Without the wish nothing changes.
    usual = route(ASKED, hard, catalog, policy_of(catalog.routing, {"agreement": True}))
    assert isinstance(usual, Route)
    assert usual.first_model == "middle"


def test_the_floor_falls_only_for_a_weaker_model_that_outcomes_show_to_be_as_good():
    middle = model("middle", Tier.MID, 1_000, 0.75)
    catalog = catalog_of(FIRST, OTHER, middle, STRONG)
    hard = Classification(TaskType.COMPLEX_REASONING, 0.55, 0.95)

    def routed(shift: float, kind: TaskType = TaskType.COMPLEX_REASONING) -> Route:
        learned = Learned((("small", kind, shift),))
        policy = replace(policy_of(catalog.routing, {}), learned=learned)
        found = route(ASKED, hard, catalog, policy)
        assert isinstance(found, Route)
        return found

    assert routed(0.0).first_model == routed(0.1).first_model == "middle"
    low = routed(0.3)
    assert low.first_model == "small"
    assert "own outcomes show at 90 %: small of tier cheap" in low.reasons[2]
    assert [rung.tier for rung in low.rungs] == [Tier.CHEAP, Tier.MID, Tier.HIGH]
    # What was shown of another task type shows nothing here.
    assert routed(0.3, TaskType.SIMPLE_QA).first_model == "middle"


def test_what_differs_or_cannot_be_read_is_doubted():
    good = Verdict(accepted=True, score=1.0)
    assert verdict_of(good, "42", "42", "other").accepted
    for said in ("43", None):
        doubted = verdict_of(good, "42", said, "other")
        assert (doubted.accepted, doubted.judge) == (False, "agreement")
        assert "other" in doubted.reasons[0]
