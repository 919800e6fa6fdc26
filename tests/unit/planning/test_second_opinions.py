"""What checks, labels and grades add to what a line is expected to cost."""

from dataclasses import replace
from typing import Any

from producer.planning.aside_costs import with_asides
from producer.planning.line_costs import LineCost, line_cost
from shared.deciding.expectations import Expectations
from shared.deciding.project_policy import policy_of
from shared.deciding.routing import route
from shared.domain.decisions import Classification, Route
from shared.domain.inference import Request, TaskType, Tier
from tests.unit.deciding.conftest import catalog_of, model

CATALOG = catalog_of(
    model("small", Tier.CHEAP, 100, 0.6),
    model("other", Tier.CHEAP, 120, 0.6),
    model("middle", Tier.MID, 2_000, 0.75),
)
ASKED = Request(messages=({"role": "user", "content": "How many are left of 42 when 6 go?"},))
SUM = Classification(TaskType.COMPLEX_REASONING, 0.55, 0.95)


def cost_of(kind: Classification = SUM, request: Request = ASKED, **wishes: Any) -> LineCost:
    policy, seen = policy_of(CATALOG.routing, wishes), Expectations()
    routed = route(request, kind, CATALOG, policy)
    assert isinstance(routed, Route)
    cost = line_cost(request, kind, routed, CATALOG.models, seen, policy)
    return with_asides(cost, request, kind, routed, CATALOG, seen, policy)


def test_starting_lower_is_expected_to_cost_less_and_may_cost_more():
    usual, lower = cost_of(), cost_of(agreement="auto")
    assert [call.model for call in usual.calls] == ["middle"]
    assert [call.model for call in lower.calls] == ["small", "other", "middle"]
    assert lower.mean_nusd < 0.8 * usual.mean_nusd
    assert lower.worst_nusd > usual.worst_nusd
    reached = [call.reached for call in lower.calls]
    assert reached[0] == 1.0 > reached[1] > reached[2] > 0.2
    assert [call.climbed for call in lower.calls] == [False, False, True]


def test_a_check_adds_its_call_and_the_climbs_it_orders():
    easy = replace(SUM, difficulty=0.2)
    alone, checked = cost_of(easy), cost_of(easy, agreement=True)
    assert [call.model for call in alone.calls] == ["small", "middle"]
    assert [call.model for call in checked.calls] == ["small", "other", "middle"]
    assert checked.mean_nusd > alone.mean_nusd
    # What cannot be compared is not checked.
    assert cost_of(replace(easy, task_type=TaskType.CREATIVE), agreement=True).worst_nusd == (
        cost_of(replace(easy, task_type=TaskType.CREATIVE)).worst_nusd
    )


def test_labels_and_grades_are_counted_where_they_are_asked_for():
    guess = Classification(TaskType.CREATIVE, 0.3, 0.4)
    sure = replace(guess, confidence=0.9)
    wish = {"classify_with": "small"}
    assert cost_of(sure, **wish) == cost_of(sure)
    plain, asked = cost_of(guess), cost_of(guess, **wish)
    assert len(asked.calls) == len(plain.calls) + 1
    assert asked.worst_nusd > plain.worst_nusd
    rubric = {"text": "It must rhyme.", "judge": "other", "threshold": 0.6, "share": 0.5}
    (grade,) = (call for call in cost_of(sure, rubric=rubric).calls if call.model == "other")
    assert 0.3 < grade.reached < 0.5
    assert cost_of(sure, replace(ASKED, model="small"), rubric=rubric, **wish) == (
        cost_of(sure, replace(ASKED, model="small"))
    )
