"""Ladders: hard constraints exclude with reasons, the score chooses, and nothing ever goes down."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.catalog.spec import Catalog
from shared.deciding.constraints import Sifted, rank, sift
from shared.deciding.estimation import demand_of, expected_cost_nusd, max_tokens_for
from shared.deciding.naming import known_model_names
from shared.deciding.routing import cheaper_rungs, route
from shared.deciding.routing_policy import RoutingPolicy
from shared.domain.decisions import Classification, Mode, NoRoute, Route
from shared.domain.inference import Constraints, Preferences, Request, TaskType, Tier

EASY = Classification(TaskType.SIMPLE_QA, 0.1, 0.95)
MEDIUM = Classification(TaskType.ANALYSIS, 0.55, 0.9)
HARD = Classification(TaskType.COMPLEX_REASONING, 0.85, 0.9)
POLICY = RoutingPolicy()
SHARED_CATALOG = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def asked(text: str = "Hello?", **fields: Any) -> Request:
    return Request(messages=({"role": "user", "content": text},), **fields)


def routed(
    request: Request,
    catalog: Catalog,
    classification: Classification = EASY,
    policy: RoutingPolicy = POLICY,
) -> Route:
    found = route(request, classification, catalog, policy)
    assert isinstance(found, Route), found
    return found


def names_of(found: Route) -> set[str]:
    return {name for rung in found.rungs for name in rung.models}


CLASSIFICATIONS = st.builds(
    Classification,
    task_type=st.sampled_from(TaskType),
    difficulty=st.floats(0, 1),
    confidence=st.floats(0, 1),
)
WEIGHTS = st.floats(0, 10, allow_subnormal=False)
PREFERENCES = st.builds(Preferences, cost=WEIGHTS, latency=WEIGHTS, quality=WEIGHTS)
MODEL_NAMES = ["plain", "small", "coder", "middle", "other-middle", "large"]
CONSTRAINTS = st.builds(
    Constraints,
    max_cost_nusd=st.none() | st.integers(0, 30_000_000),
    max_latency_s=st.none() | st.floats(0, 6),
    allowed_models=st.none() | st.lists(st.sampled_from(MODEL_NAMES)).map(tuple),
    min_tier=st.none() | st.sampled_from(Tier),
)
CHOICES = st.sampled_from(["auto", "cheapest", "best", "cheap", "mid", "high", *MODEL_NAMES])


@pytest.mark.parametrize(
    ("classification", "tier"), [(EASY, Tier.CHEAP), (MEDIUM, Tier.MID), (HARD, Tier.HIGH)]
)
def test_harder_prompts_start_at_stronger_tiers(
    catalog: Catalog, classification: Classification, tier: Tier
) -> None:
    assert routed(asked(), catalog, classification).rungs[0].tier is tier


def test_doubt_about_a_prompt_starts_it_no_lower(catalog: Catalog) -> None:
    sure = replace(MEDIUM, difficulty=0.48, confidence=1.0)
    unsure = replace(sure, confidence=0.1)
    assert routed(asked(), catalog, sure).rungs[0].tier is Tier.CHEAP
    assert routed(asked(), catalog, unsure).rungs[0].tier is Tier.MID


def test_a_strength_for_the_task_counts(catalog: Catalog) -> None:
    preferences = Preferences(cost=0.1, latency=0.0, quality=0.9)
    only_cheap = Constraints(allowed_models=("small", "coder"))
    request = asked(preferences=preferences, constraints=only_cheap)
    coding = Classification(TaskType.CODING, 0.45, 1.0)
    assert routed(request, catalog, coding).first_model == "coder"
    assert routed(request, catalog, replace(coding, task_type=TaskType.ANALYSIS)).first_model == (
        "small"
    )


def test_all_weight_on_cost_takes_the_cheapest_adequate_and_on_quality_the_best(
    catalog: Catalog,
) -> None:
    cost = asked(preferences=Preferences(1, 0, 0))
    quality = asked(preferences=Preferences(0, 0, 1))
    assert routed(cost, catalog).first_model == "plain"
    assert routed(cost, catalog, MEDIUM).first_model == "middle"
    assert routed(quality, catalog).first_model == "large"


def test_the_requests_weights_come_before_the_projects(catalog: Catalog) -> None:
    policy = replace(POLICY, preferences=Preferences(0, 0, 1))
    assert routed(asked(), catalog, policy=policy).first_model == "large"
    mine = asked(preferences=Preferences(1, 0, 0))
    assert routed(mine, catalog, policy=policy).first_model == "plain"
    silent = asked(preferences=Preferences(0, 0, 0))
    assert routed(silent, catalog, policy=policy).first_model == "large"


def test_the_ladder_has_the_tiers_fallbacks_and_then_the_stronger_tiers(catalog: Catalog) -> None:
    found = routed(asked(), catalog)
    assert [rung.tier for rung in found.rungs] == [Tier.CHEAP, Tier.MID, Tier.HIGH]
    assert set(found.rungs[0].models) == {"plain", "small", "coder"}
    assert found.max_climbs == 2
    assert found.reasons


def test_modes_choose_as_they_say(catalog: Catalog) -> None:
    cheapest = routed(asked(model="cheapest"), catalog, HARD)
    assert (cheapest.mode, cheapest.first_model) == (Mode.CHEAPEST, "plain")
    assert cheapest.max_climbs == 2
    best = routed(asked(model="best"), catalog)
    assert (best.mode, best.first_model, best.max_climbs) == (Mode.BEST, "large", 0)
    mid = routed(asked(model="mid"), catalog)
    assert (mid.mode, mid.rungs[0].tier, mid.max_climbs) == (Mode.TIER, Tier.MID, 1)
    manual = routed(asked(model="small"), catalog)
    assert (manual.mode, names_of(manual), manual.max_climbs) == (Mode.MANUAL, {"small"}, 0)


def test_a_named_model_falls_back_only_to_those_it_names(catalog: Catalog) -> None:
    request = asked(model="small", fallback_models=("large", "nobody", "small"))
    found = routed(request, catalog)
    assert found.rungs[0].models == ("small", "large")


def test_a_named_model_that_may_not_answer_gives_way_to_its_fallback(
    catalog_without: Callable[[str], Catalog],
) -> None:
    request = asked(model="coder", fallback_models=("large",))
    found = routed(request, catalog_without("two"))
    assert found.first_model == "large"
    assert "set A_KEY" in found.reasons[1]


def test_an_unknown_name_is_not_found_and_the_nearest_is_offered(catalog: Catalog) -> None:
    found = route(asked(model="smal"), EASY, catalog, POLICY)
    assert found == NoRoute(
        "model_not_found", "no model, tier or mode is called 'smal'; did you mean 'small'?"
    )
    assert known_model_names(catalog) >= {"auto", "best", "cheapest", "high", "coder"}


def test_a_tier_without_a_model_starts_at_the_next_stronger(catalog: Catalog) -> None:
    request = asked(model="mid", constraints=Constraints(allowed_models=("small", "large")))
    found = routed(request, catalog)
    assert found.first_model == "large"
    assert len(found.reasons) == 2
    weaker = asked(model="mid", constraints=Constraints(allowed_models=("small",)))
    refused = route(weaker, EASY, catalog, POLICY)
    assert isinstance(refused, NoRoute)
    assert "tier mid or above" in refused.message


def test_when_only_weak_models_may_answer_the_strongest_of_them_does(catalog: Catalog) -> None:
    request = asked(constraints=Constraints(allowed_models=("small", "middle")))
    assert routed(request, catalog, HARD).first_model == "middle"


SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("request_", "name", "reason"),
    [
        (asked(response_format={"type": "json_object"}), "plain", "lacks json"),
        (asked(response_format=SCHEMA), "plain", "lacks json_schema"),
        (asked(extras={"tools": [{}]}), "plain", "lacks tools"),
        (asked(extras={"logprobs": True}), "plain", "lacks logprobs"),
        (asked(constraints=Constraints(min_tier=Tier.MID)), "small", "below min_tier mid"),
        (asked(constraints=Constraints(max_latency_s=3.5)), "large", "max_latency_s is 3.5"),
        (asked(constraints=Constraints(max_cost_nusd=10_000_000)), "large", "max_cost_usd is 0.01"),
        (asked(constraints=Constraints(allowed_models=("small",))), "large", "allowed_models"),
    ],
)
def test_each_constraint_excludes_with_its_reason(
    catalog: Catalog, request_: Request, name: str, reason: str
) -> None:
    found = routed(request_, catalog)
    assert name not in names_of(found)
    assert reason in dict(found.excluded)[name]


def test_a_project_may_allow_some_models_only(catalog: Catalog) -> None:
    policy = replace(POLICY, allowed_models=("middle",))
    found = routed(asked(), catalog, policy=policy)
    assert names_of(found) == {"middle"}
    assert "project" in dict(found.excluded)["small"]


def test_models_of_an_unavailable_provider_are_left_out(
    catalog_without: Callable[[str], Catalog],
) -> None:
    found = routed(asked(), catalog_without("two"))
    assert names_of(found) == {"plain", "small", "middle", "large"}
    assert "coder" not in dict(found.excluded)  # said once by the catalog, not by every job


def test_a_prompt_longer_than_every_window_has_no_route(catalog: Catalog) -> None:
    found = route(asked("word " * 80_000), EASY, catalog, POLICY)
    assert isinstance(found, NoRoute)
    assert found.code == "no_model"
    assert "context window of 100000 tokens" in found.message
    assert "word word" not in found.message


def test_a_tier_off_the_ladder_is_only_reached_by_name(catalog: Catalog) -> None:
    policy = replace(POLICY, ladder=(Tier.CHEAP, Tier.MID))
    assert "large" not in names_of(routed(asked(), catalog, HARD, policy))
    assert routed(asked(model="high"), catalog, policy=policy).first_model == "large"


def test_the_worst_case_and_not_the_expectation_is_held_against_max_cost(catalog: Catalog) -> None:
    # 4,000 tokens of output at 250 nano-dollars are 1,000,000 at least
    tight = Constraints(max_cost_nusd=1_000_000, allowed_models=("plain",))
    assert isinstance(
        route(asked(max_tokens=4_000, constraints=tight), EASY, catalog, POLICY), NoRoute
    )
    assert routed(asked(max_tokens=2_000, constraints=tight), catalog).first_model == "plain"


@SHARED_CATALOG
@given(CLASSIFICATIONS, PREFERENCES, CONSTRAINTS, CHOICES)
def test_a_ladder_never_goes_down_and_keeps_every_constraint(
    catalog: Catalog,
    classification: Classification,
    preferences: Preferences,
    constraints: Constraints,
    choice: str,
) -> None:
    request = asked(model=choice, preferences=preferences, constraints=constraints)
    found = route(request, classification, catalog, POLICY)
    if isinstance(found, NoRoute):
        assert found.code == "no_model"
        return
    ranks = [rank(rung.tier) for rung in found.rungs]
    assert ranks == sorted(set(ranks))
    assert not names_of(found) & dict(found.excluded).keys()
    assert found.max_climbs <= len(found.rungs) - 1
    assert sum(len(rung.models) for rung in found.rungs) == len(names_of(found))
    allowed = constraints.allowed_models
    assert allowed is None or names_of(found) <= set(allowed)
    if choice in MODEL_NAMES:
        assert names_of(found) == {choice}


@SHARED_CATALOG
@given(CONSTRAINTS, CONSTRAINTS)
def test_a_stricter_constraint_never_adds_a_candidate(
    catalog: Catalog, loose: Constraints, other: Constraints
) -> None:
    def sifted(constraints: Constraints) -> Sifted:
        request = asked(constraints=constraints)
        demand = demand_of(request, TaskType.CODING)
        return sift(catalog.models.values(), request, demand, catalog, POLICY)

    strict = Constraints(
        max_cost_nusd=_least(loose.max_cost_nusd, other.max_cost_nusd),
        max_latency_s=_least(loose.max_latency_s, other.max_latency_s),
        allowed_models=_both(loose.allowed_models, other.allowed_models),
        min_tier=max(
            (tier for tier in (loose.min_tier, other.min_tier) if tier is not None),
            key=rank,
            default=None,
        ),
    )
    left = {candidate.model.name for candidate in sifted(strict).candidates}
    assert left <= {candidate.model.name for candidate in sifted(loose).candidates}


@SHARED_CATALOG
@given(CONSTRAINTS, CONSTRAINTS, CHOICES)
def test_a_project_and_its_task_types_bind_a_request_like_constraints_of_its_own(
    catalog: Catalog, own: Constraints, other: Constraints, model: str
) -> None:
    theirs = {
        name: value
        for name in ("max_cost_nusd", "max_latency_s")
        if (value := getattr(other, name)) is not None
    }
    strict = replace(own, **{name: _least(getattr(own, name), v) for name, v in theirs.items()})
    by_task = ((TaskType.CODING, tuple(theirs.items())),)
    coding = replace(EASY, task_type=TaskType.CODING)
    wanted = route(asked(model=model, constraints=strict), coding, catalog, POLICY)
    for policy in (replace(POLICY, **theirs), replace(POLICY, by_task_type=by_task)):
        assert route(asked(model=model, constraints=own), coding, catalog, policy) == wanted
    elsewhere = replace(POLICY, by_task_type=by_task)
    free = asked(model=model, constraints=own)
    assert route(free, EASY, catalog, elsewhere) == route(free, EASY, catalog, POLICY)


def test_a_preferred_model_comes_before_all_others_that_are_adequate(catalog: Catalog) -> None:
    assert routed(asked(preferred_models=("coder",)), catalog).first_model == "coder"
    assert routed(asked(preferred_models=("large",)), catalog).first_model == "large"
    weak = routed(asked(preferred_models=("small",)), catalog, HARD)
    assert weak.first_model == "large"
    wish = replace(POLICY, preferred_models=("coder",))
    assert routed(asked(), catalog, policy=wish).first_model == "coder"
    assert routed(asked(preferred_models=("small",)), catalog, policy=wish).first_model == "small"
    by_task = replace(
        wish, by_task_type=((TaskType.ANALYSIS, (("preferred_models", ("other-middle",)),)),)
    )
    assert routed(asked(), catalog, MEDIUM, by_task).first_model == "other-middle"
    assert routed(asked(model="mid", preferred_models=("other-middle",)), catalog).rungs[
        0
    ].models == ("other-middle", "middle")


def test_named_fallbacks_stand_behind_the_first_model_whatever_their_tier(
    catalog: Catalog,
) -> None:
    usual = routed(asked(), catalog)
    first, *others = usual.rungs[0].models
    wished = routed(asked(fallback_models=("large", "nobody", "coder")), catalog)
    assert wished.rungs[0].models[:3] == (first, "large", "coder")
    assert set(others) < set(wished.rungs[0].models)
    assert wished.rungs[1:] == usual.rungs[1:]
    of_project = replace(POLICY, fallback_models=("large",))
    assert routed(asked(), catalog, policy=of_project).rungs[0].models[1] == "large"
    manual = routed(asked(model="small"), catalog, policy=of_project)
    assert names_of(manual) == {"small"}, "a named model falls back to what its request names"


def _both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if one is None or other is None:
        return other if one is None else one
    return tuple(name for name in one if name in other)


def _least(one: Any, other: Any) -> Any:
    return min((value for value in (one, other) if value is not None), default=None)


@SHARED_CATALOG
@given(CLASSIFICATIONS, PREFERENCES, st.floats(0, 20, allow_subnormal=False))
def test_more_weight_on_cost_never_chooses_a_dearer_model(
    catalog: Catalog, classification: Classification, preferences: Preferences, more: float
) -> None:
    if preferences.cost + preferences.latency + preferences.quality == 0:
        return
    thriftier = replace(preferences, cost=preferences.cost + more)
    costs = []
    for weights in (preferences, thriftier):
        request = asked(preferences=weights)
        first = catalog.models[routed(request, catalog, classification).first_model]
        demand = demand_of(request, classification.task_type)
        limit = max_tokens_for(request, demand, first, POLICY.default_max_tokens)
        assert limit is not None
        costs.append(expected_cost_nusd(demand, first, limit))
    assert costs[1] <= costs[0]


def test_cheaper_rungs_are_the_weaker_tiers_that_may_answer(catalog: Catalog) -> None:
    found = routed(asked(model="best", response_format={"type": "json_object"}), catalog)
    assert [(rung.tier, rung.models) for rung in cheaper_rungs(found, catalog)] == [
        (Tier.MID, ("other-middle", "middle")),
        (Tier.CHEAP, ("coder", "small")),
    ]
    assert cheaper_rungs(routed(asked(), catalog), catalog) == ()
    assert cheaper_rungs(routed(asked(model="large"), catalog), catalog) == ()
