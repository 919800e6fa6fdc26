"""A route that was prepared is the route that would have been decided: over everything it sees."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.catalog.spec import Catalog
from shared.deciding.prepared_routes import PreparedRoutes
from shared.deciding.routing import route
from shared.deciding.routing_policy import RoutingPolicy
from shared.domain.decisions import UNCLASSIFIED, Classification, Route
from shared.domain.inference import Constraints, Preferences, Request, TaskType, Tier

SHARED_CATALOG = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
POLICY = RoutingPolicy()
NAMES = ["plain", "small", "coder", "middle", "large", "nobody"]
POLICIES = [
    POLICY,
    RoutingPolicy(preferences=Preferences(0, 0, 1)),
    RoutingPolicy(allowed_models=("small", "large"), max_climbs=1),
    RoutingPolicy(ladder=(Tier.CHEAP, Tier.MID), default_max_tokens=99_000),
]
# Few values of each field, so that many requests meet what another one prepared.
ASKED = st.builds(
    lambda words, fields: Request(
        messages=({"role": "user", "content": "word " * words},), **fields
    ),
    st.sampled_from([1, 7, 8, 9, 100, 101, 20_000, 59_000, 61_000]),
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from(["auto", "cheapest", "best", "mid", "high", *NAMES]),
            "max_tokens": st.sampled_from([1, 500, 3_000, 90_000]),
            "preferences": st.sampled_from([Preferences(1, 0, 0), Preferences(0, 1, 1)]),
            "constraints": st.sampled_from(
                [
                    Constraints(max_cost_nusd=2_000_000),
                    Constraints(min_tier=Tier.MID),
                    Constraints(allowed_models=("small", "plain")),
                    Constraints(allowed_models=()),
                ]
            ),
            "fallback_models": st.sampled_from([("large",), ("nobody", "plain")]),
            "preferred_models": st.sampled_from([("coder",), ("large", "middle")]),
            "response_format": st.sampled_from([{"type": "json_object"}, {"type": "text"}]),
            "extras": st.sampled_from([{"n": 3}, {"tools": [{}]}, {"logprobs": True}]),
        },
    ),
)
CLASSIFICATIONS = st.builds(
    Classification,
    task_type=st.sampled_from(TaskType),
    difficulty=st.floats(0, 1),
    confidence=st.floats(0, 1),
)


@SHARED_CATALOG
@given(st.lists(st.tuples(ASKED, CLASSIFICATIONS, st.sampled_from(POLICIES)), min_size=1))
def test_a_prepared_route_is_the_one_that_would_be_decided(
    catalog: Catalog, asked: list[tuple[Request, Classification, RoutingPolicy]]
) -> None:
    prepared = PreparedRoutes(catalog)
    for request, classification, policy in asked * 2:
        expected = route(request, classification, catalog, policy)
        assert prepared.route(request, classification, replace(policy)) == expected
        assert prepared.route(request, classification, policy) == expected


def test_alike_jobs_share_one_decision_and_keep_their_own_words(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = []

    def counted(*asked: Any) -> Any:
        decided.append(asked)
        return route(*asked)

    monkeypatch.setattr("shared.deciding.prepared_routes.route", counted)
    prepared = PreparedRoutes(catalog)
    found = [
        prepared.route(
            Request(messages=({"role": "user", "content": f"Line {n} of the file"},)),
            Classification(TaskType.ANALYSIS, 0.5, 0.99 - n / 1000),
            POLICY,
        )
        for n in range(10, 16)
    ]
    assert len(decided) == 1
    reasons = [one.reasons[0] for one in found if isinstance(one, Route)]
    assert (reasons[0], reasons[5]) == (
        "analysis, medium (0.50), confidence 0.98",
        "analysis, medium (0.50), confidence 0.97",
    )


def test_embeddings_and_empty_catalogs_are_decided_alone(catalog: Catalog) -> None:
    embed = Request(messages=(), embed={"input": "x"})
    nothing = replace(catalog, models={})
    for known in (catalog, nothing):
        prepared = PreparedRoutes(known)
        assert prepared.route(embed, UNCLASSIFIED, POLICY) == route(
            embed, UNCLASSIFIED, known, POLICY
        )
    request = Request(messages=({"role": "user", "content": "x"},))
    easy = Classification(TaskType.SIMPLE_QA, 0.1, 0.9)
    assert PreparedRoutes(nothing).route(request, easy, POLICY) == route(
        request, easy, nothing, POLICY
    )
