"""A batch's cost: in order, growing with its lines, and true to what is drawn."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.predicting import WORLDS, Quality, outcomes
from producer.planning.batch_cost import batch_cost
from producer.planning.duration import Room, seconds_for
from producer.planning.line_costs import CallCost, LineCost, cut_lognormal
from shared.catalog.spec import Catalog
from shared.deciding.answer_kinds import kind_of_task
from shared.deciding.expectations import Expectations
from shared.domain.inference import TaskType, Tier
from tests.unit.planning.catalogs import limited_catalog

UNSEEN = Expectations().of("small", Tier.CHEAP, kind_of_task(TaskType.CODING))


def call(taken: float, given_nusd: float = 10.0, reached: float = 1.0) -> CallCost:
    return CallCost(
        "small", UNSEEN, reached, given_nusd, taken, taken * 0.8, reached < 1, 100.0, 2.0
    )


def line(taken: float = 100.0, worst: int = 2000) -> LineCost:
    return LineCost((call(taken), call(10 * taken, reached=0.1)), worst)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=30), st.integers(1, 1_000_000))
def test_the_middle_is_below_the_95th_percentile_and_that_below_the_worst(
    taken: list[float], lines: int
):
    seen = [line(cost, worst=round(25 * cost) + 20) for cost in taken]
    cost = batch_cost(seen, max(lines, len(seen)))
    assert 0 <= cost.p50 <= cost.p95 <= cost.worst


def test_more_lines_cost_more_and_are_predicted_relatively_better():
    few = batch_cost([line()] * 10, 10)
    many = batch_cost([line()] * 10, 10_000)
    assert many.p50 > 900 * few.p50
    assert many.p95 / many.p50 < few.p95 / few.p50


def test_nothing_costs_nothing():
    assert batch_cost([], 0).worst == 0
    inputs_only = LineCost((call(0.0, given_nusd=7.0),), 7)
    cost = batch_cost([inputs_only], 3)
    assert (cost.p50, cost.p95, cost.worst) == (21, 21, 21)


@pytest.mark.parametrize("limit", [30.0, 100.0, 1000.0])
def test_a_cut_answer_has_the_mean_and_spread_of_answers_that_are_cut(limit: float):
    drawn = random.Random(1)
    mean, spread = 100.0, 0.8
    variance = math.log(1 + spread**2)
    answers = [
        min(limit, drawn.lognormvariate(math.log(mean) - variance / 2, math.sqrt(variance)))
        for _ in range(40_000)
    ]
    middle = sum(answers) / len(answers)
    deviation = math.sqrt(sum((a - middle) ** 2 for a in answers) / len(answers))
    told = cut_lognormal(mean, spread, limit)
    assert told == (pytest.approx(middle, rel=0.02), pytest.approx(deviation, rel=0.05))


def test_batches_drawn_otherwise_than_assumed_stay_below_their_95th_percentile_as_often_as_told():
    found = [o for world in WORLDS[:6] for o in outcomes(world, 4, 14, seed=6)]
    quality = Quality.of(found)
    assert quality.batches == 336
    assert 0.92 <= quality.covered <= 0.99
    assert 0.9 <= quality.middle <= 1.1


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return limited_catalog(rpm=60, tpm=None, max_concurrency=None)


def test_time_is_that_of_the_tightest_limit(catalog: Catalog):
    one = LineCost((call(10.0),), 100)
    alone = seconds_for([one], 1, catalog, Room(256, {}))
    assert alone == 2.0
    assert seconds_for([one], 600, catalog, Room(256, {})) == pytest.approx(600)
    assert seconds_for([one], 600, catalog, Room(256, {"acme": 4})) == pytest.approx(150)
    assert seconds_for([one], 600, catalog, Room(1, {"acme": 100})) == pytest.approx(1200)
    tokens = limited_catalog(rpm=None, tpm=6000, max_concurrency=None)
    assert seconds_for([one], 600, tokens, Room(256, {})) == pytest.approx(600)
    places = limited_catalog(rpm=None, tpm=None, max_concurrency=3)
    assert seconds_for([one], 600, places, Room(256, {})) == pytest.approx(400)
