"""A budget spread over a batch: more of it never brings less, and the last job is answered too."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deciding.allotting import (
    PRICES,
    Allotment,
    Curve,
    Option,
    Progress,
    allot,
    choose,
    options_of,
)
from shared.deciding.constraints import Candidate
from shared.deciding.routing import candidates_of, route
from shared.deciding.routing_policy import RoutingPolicy
from shared.domain.decisions import Classification, Route
from shared.domain.inference import Constraints, Request, TaskType
from tests.unit.deciding.conftest import MODELS, catalog_of

option = st.builds(
    Option,
    model=st.sampled_from("abcdef"),
    cost_nusd=st.floats(0, 1e9),
    success=st.floats(0, 1),
    climbs=st.booleans(),
)
job = st.lists(option, min_size=1, max_size=5)
batch = st.lists(job, min_size=1, max_size=12)


@given(job, st.floats(0, 1e7), st.floats(0, 1e7))
def test_a_higher_price_never_chooses_what_costs_more_or_brings_more(
    options: list[Option], one: float, other: float
):
    low, high = sorted((one, other))
    generous, thrifty = choose(options, low), choose(options, high)
    assert thrifty.cost_nusd <= generous.cost_nusd * (1 + 1e-9) + 1e-3
    assert thrifty.success <= generous.success + 1e-9


@given(batch, st.integers(0, 10**10), st.integers(0, 10**10))
def test_more_budget_never_lowers_the_expected_quality(
    jobs: list[list[Option]], one: int, other: int
):
    curve = Curve.of(jobs)
    small, large = (
        allot(curve, Progress(len(jobs), 0, cap, 0)).gain_per_usd for cap in sorted((one, other))
    )
    assert large <= small
    brought = [sum(choose(options, price).success for options in jobs) for price in (small, large)]
    assert brought[0] <= brought[1] + 1e-6


@given(batch, st.integers(0, 10**10))
def test_what_is_chosen_is_expected_to_cost_no_more_than_the_budget(
    jobs: list[list[Option]], cap: int
):
    found = allot(Curve.of(jobs), Progress(len(jobs), 0, cap, 0))
    cost = sum(choose(options, found.gain_per_usd).cost_nusd for options in jobs)
    assert cost <= cap + 1 or not found.carries_all


@given(batch)
def test_a_curve_and_an_allotment_are_stored_and_read_as_they_are(jobs: list[list[Option]]):
    curve = Curve.of(jobs)
    stored = curve.to_dict()
    assert Curve.from_dict(stored).to_dict() == stored
    found = allot(curve, Progress(len(jobs), 0, 10**8, 0))
    assert Allotment.from_dict(found.to_dict()) == found


@dataclass
class Run:
    """A batch run to its end: chunks at the price of the moment, real costs unlike the expected."""

    answered: int
    spent: float
    brought: float


def run(jobs: list[list[Option]], cap: int, *, dearer: float, greedy: bool = False) -> Run:
    drawn = random.Random(4)
    curve = Curve.of(jobs)
    now = allot(curve, Progress(len(jobs), 0, cap, 0))
    done = Run(0, 0.0, 0.0)
    for place, options in enumerate(jobs):
        if place % 10 == 0:
            now = allot(curve, Progress(len(jobs), place, cap, round(done.spent)), now)
        best = (
            max(options, key=lambda o: o.success) if greedy else choose(options, now.gain_per_usd)
        )
        cost = best.cost_nusd * dearer * drawn.lognormvariate(-0.25, 0.7)
        if done.spent + cost > cap:
            break
        done = Run(done.answered + 1, done.spent + cost, done.brought + best.success)
    return done


def a_batch(lines: int = 400, *, easy_first: bool = False) -> list[list[Option]]:
    drawn = random.Random(3)
    needs = [drawn.random() for _ in range(lines)]
    if easy_first:
        needs.sort()
    return [
        [
            Option("small", 100_000.0, 0.95 - 0.7 * need),
            Option("middle", 1_000_000.0, 0.97 - 0.4 * need),
            Option("large", 4_000_000.0, 0.98 - 0.1 * need),
        ]
        for need in needs
    ]


@pytest.mark.parametrize("dearer", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("easy_first", [False, True])
def test_the_last_jobs_are_answered_too_whatever_the_estimates_were_worth(
    dearer: float, easy_first: bool
):
    jobs = a_batch(easy_first=easy_first)
    cap = 400_000_000
    done = run(jobs, cap, dearer=dearer)
    assert done.answered == len(jobs)
    assert done.spent > 0.6 * cap
    first_come = run(jobs, cap, dearer=dearer, greedy=True)
    assert first_come.answered < 0.6 * len(jobs)
    assert done.brought > 1.3 * first_come.brought


def test_a_budget_for_nothing_says_so():
    jobs = a_batch(20)
    assert not allot(Curve.of(jobs), Progress(20, 0, 100_000, 0)).carries_all
    assert allot(Curve.of(jobs), Progress(20, 0, 10**12, 0)).gain_per_usd == PRICES[0]


def asked(**fields: object) -> Request:
    return Request(({"role": "user", "content": "Prove it."},), **fields)  # type: ignore[arg-type]


HARD = Classification(TaskType.COMPLEX_REASONING, 0.8, 0.9)


def test_a_route_at_a_price_takes_what_the_price_buys_and_climbs_only_where_that_pays():
    catalog = catalog_of(*MODELS)
    routes = [route(asked(), HARD, catalog, RoutingPolicy(gain_per_usd=price)) for price in PRICES]
    assert all(isinstance(found, Route) for found in routes)
    firsts = [catalog.models[found.first_model] for found in routes if isinstance(found, Route)]
    worth = [model.price.base.output for model in firsts]
    assert worth == sorted(worth, reverse=True)
    assert len({model.tier for model in firsts}) > 1
    dearest = routes[-1]
    assert isinstance(dearest, Route)
    assert dearest.max_climbs == 0


@given(
    st.sampled_from([None, 10**5, 10**7, 10**9]),
    st.sampled_from([None, 0.5, 2.0, 10.0]),
    st.sampled_from([None, 10**4, 10**6]),
    st.sampled_from([None, 0.1, 1.0]),
)
def test_a_stricter_constraint_never_adds_a_candidate(
    cost: int | None, latency: float | None, stricter_cost: int | None, stricter: float | None
):
    catalog = catalog_of(*MODELS)
    policy = RoutingPolicy(gain_per_usd=10.0)

    def names(limits: Constraints) -> set[str]:
        found: tuple[Candidate, ...] = candidates_of(
            asked(constraints=limits), HARD, catalog, policy
        )
        return {candidate.model.name for candidate in found}

    def tighter(one: float | None, other: float | None) -> float | None:
        return min((limit for limit in (one, other) if limit is not None), default=None)

    loose = names(Constraints(max_cost_nusd=cost, max_latency_s=latency))
    least = tighter(cost, stricter_cost)
    tight = names(
        Constraints(
            max_cost_nusd=None if least is None else int(least),
            max_latency_s=tighter(latency, stricter),
        )
    )
    assert tight <= loose
    assert len(options_of((), HARD)) == 0
