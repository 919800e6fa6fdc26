"""What a pilot says holds as often as it claims, and it says nothing that it has not seen."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deciding.piloting import Trial, cluster_of, decide, lines_for, upper_bound
from shared.deciding.routing import route
from shared.deciding.routing_policy import Piloting, RoutingPolicy
from shared.domain.decisions import Classification, Route
from shared.domain.inference import Request, TaskType, Tier
from tests.unit.deciding.conftest import MODELS, catalog_of

COSTS = {Tier.CHEAP: 100, Tier.MID: 1_000, Tier.HIGH: 4_000}
KINDS = {"simple_qa/easy": (0.005, 0.0), "coding/medium": (0.30, 0.01), "analysis/hard": (0.5, 0.3)}
"""How often the cheap and the middle tier lose a line of a kind; each is a third of all."""


def trials(count: int, drawn: random.Random) -> list[Trial]:
    found = []
    for place in range(count):
        kind = list(KINDS)[place % len(KINDS)]
        cheap, middle = KINDS[kind]
        lost = {
            tier
            for tier, share in ((Tier.CHEAP, cheap), (Tier.MID, middle))
            if drawn.random() < share
        }
        found.append(Trial(kind, COSTS, frozenset(lost)))
    return found


def true_loss(tiers: dict[str, Tier]) -> float:
    shares = {Tier.CHEAP: 0, Tier.MID: 1}
    return sum(KINDS[kind][shares[tier]] for kind, tier in tiers.items() if tier in shares) / len(
        KINDS
    )


@pytest.mark.parametrize(
    ("lost", "lines", "bound"),
    [(0, 149, 0.0199), (0, 20, 0.1391), (1, 20, 0.2161), (5, 50, 0.1989)],
)
def test_bounds_are_those_of_clopper_and_pearson(lost: int, lines: int, bound: float):
    assert upper_bound(lost, lines) == pytest.approx(bound, abs=5e-4)


@given(st.integers(0, 50), st.integers(1, 50))
def test_a_bound_lies_above_what_was_seen(lost: int, lines: int):
    lost = min(lost, lines)
    assert lost / lines <= upper_bound(lost, lines) <= 1.0


def test_each_kind_gets_the_cheapest_tier_that_does():
    outcome = decide(trials(300, random.Random(1)), None)
    assert {choice.cluster: choice.tier for choice in outcome.choices} == {
        "simple_qa/easy": Tier.CHEAP, "coding/medium": Tier.MID, "analysis/hard": Tier.HIGH,
    }  # fmt: skip
    assert all(choice.bound <= 0.2 for choice in outcome.choices)


def test_a_limit_on_the_loss_is_kept_in_at_least_95_of_100_batches_and_still_saves():
    drawn = random.Random(2)
    limit, runs, over, cheaper = 0.02, 300, 0, 0
    for _ in range(runs):
        outcome = decide(trials(lines_for(10_000, limit), drawn), limit)
        tiers = {choice.cluster: choice.tier for choice in outcome.choices}
        over += true_loss(tiers) > limit
        cheaper += any(tier is not Tier.HIGH for tier in tiers.values())
        assert outcome.loss_bound is not None
        assert outcome.loss_bound <= limit
    assert over <= 0.05 * runs
    assert cheaper > 0.7 * runs


def test_a_limit_that_nothing_can_show_leaves_all_to_the_strongest():
    outcome = decide(trials(60, random.Random(3)), 0.001)
    assert {choice.tier for choice in outcome.choices} == {Tier.HIGH}
    assert outcome.loss_bound == 0.0


def test_a_pilot_is_as_long_as_it_must_be_and_none_where_it_cannot_pay():
    assert lines_for(100_000, None) == 100
    assert lines_for(100_000, 0.02) == 298
    assert lines_for(200, 0.02) == 50
    assert lines_for(40, None) == 0
    assert decide([], 0.02).choices == ()


EASY = Classification(TaskType.SIMPLE_QA, 0.1, 0.95)


def routed(piloting: Piloting) -> Route:
    request = Request(({"role": "user", "content": "Who was Ada Lovelace?"},))
    found = route(request, EASY, catalog_of(*MODELS), RoutingPolicy(piloting=piloting))
    assert isinstance(found, Route)
    return found


def test_a_line_of_a_pilot_may_climb_through_all_tiers():
    found = routed(Piloting(asks_all=True))
    assert [rung.tier for rung in found.rungs] == list(Tier)
    assert found.max_climbs == 2


def test_the_rest_starts_at_the_tier_of_its_kind():
    kind = cluster_of(EASY)
    assert routed(Piloting(tiers=((kind, Tier.MID),))).rungs[0].tier is Tier.MID
    assert routed(Piloting(otherwise=Tier.HIGH)).rungs[0].tier is Tier.HIGH
    assert routed(Piloting()).rungs[0].tier is Tier.CHEAP
