"""What outcomes teach about models, and what routing makes of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deciding.learning import HALF_LIFE_S, Evidence, estimate, learned_of
from shared.deciding.routing import route
from shared.deciding.routing_policy import Learned, RoutingPolicy
from shared.domain.decisions import Classification, Route
from shared.domain.inference import Request, TaskType, Tier
from tests.unit.deciding.conftest import catalog_of, model

CHEAP = model("small", Tier.CHEAP, 100, 0.6)
MID = model("middle", Tier.MID, 1_000, 0.8)
CATALOG = catalog_of(CHEAP, MID)
TASK = TaskType.SIMPLE_QA
counts = st.floats(0, 500)
evidences = st.builds(Evidence, counts, counts, counts, counts, counts, counts)


def test_without_evidence_nothing_moves():
    known = estimate(CHEAP, TASK, Evidence())
    assert known.mean == known.prior
    assert known.quality_shift == 0.0
    assert learned_of({("small", TASK): Evidence()}, CATALOG) == Learned()


@given(evidences)
def test_a_chance_is_a_chance_and_a_shift_has_bounds(evidence: Evidence):
    known = estimate(CHEAP, TASK, evidence)
    assert 0.0 < known.low <= known.mean + 1e-9 < 1.0
    assert abs(known.quality_shift) <= 0.4


@given(evidences, st.sampled_from(["bad", "differed", "refused"]))
def test_more_bad_news_never_raises_a_model(evidence: Evidence, kind: str):
    worse = replace(evidence, **{kind: getattr(evidence, kind) + 10.0})
    before, after = estimate(CHEAP, TASK, evidence), estimate(CHEAP, TASK, worse)
    assert after.quality_shift <= before.quality_shift


def test_praise_must_be_shown_and_doubt_counts_at_once():
    few_good, few_bad = Evidence(good=3), Evidence(bad=3)
    assert estimate(CHEAP, TASK, few_good).quality_shift == 0.0
    assert estimate(CHEAP, TASK, few_bad).quality_shift < 0.0
    assert estimate(CHEAP, TASK, Evidence(good=60)).quality_shift > 0.0


def test_passing_the_checks_alone_never_raises_a_model():
    assert estimate(MID, TASK, Evidence(passed=10_000)).quality_shift == 0.0


def test_evidence_fades_by_half_in_a_month():
    assert Evidence(good=8).after(HALF_LIFE_S).good == pytest.approx(4)


def test_a_batch_of_a_million_counts_like_a_hundred_answers():
    assert Evidence(passed=1e6, seen=1e6).of_one_batch().passed == pytest.approx(100, rel=0.01)


def test_a_model_that_fails_here_is_passed_over_and_the_reason_says_so():
    request = Request(messages=({"role": "user", "content": "Who?"},))
    easy = Classification(TASK, 0.2, 0.95)
    usual = route(request, easy, CATALOG, RoutingPolicy())
    learned = learned_of({("small", TASK): Evidence(bad=40, seen=40, difficulties=8)}, CATALOG)
    after = route(request, easy, CATALOG, RoutingPolicy(learned=learned))
    other = Classification(TaskType.CODING, 0.2, 0.95)
    elsewhere = route(request, other, CATALOG, RoutingPolicy(learned=learned))

    assert isinstance(usual, Route)
    assert isinstance(after, Route)
    assert isinstance(elsewhere, Route)
    assert (usual.first_model, after.first_model) == ("small", "middle")
    assert elsewhere.first_model == "small"
    praised = learned_of({("small", TASK): Evidence(good=90)}, CATALOG)
    told = route(request, easy, CATALOG, RoutingPolicy(learned=praised))
    assert isinstance(told, Route)
    assert "own outcomes: quality +" in told.reasons[-1]
