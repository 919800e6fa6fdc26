"""A running batch's own answers correct what was expected of it, and narrow it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.planning.running import SoFar, in_the_end

EXPECTED = {"p50": 1_000_000, "p95": 2_500_000, "worst": 90_000_000}


def test_before_the_first_answer_the_first_prediction_stands():
    told = in_the_end(EXPECTED, 60.0, SoFar(400, 0, 0, 3.0))
    assert told["cost_nusd"]["p50"] == EXPECTED["p50"]
    assert told["cost_nusd"]["p95"] == pytest.approx(EXPECTED["p95"], rel=0.1)
    assert told["seconds_left"] == 60.0


def test_what_is_done_counts_more_the_more_it_is_and_the_range_narrows():
    ranges = []
    for ended in (10, 100, 300, 399, 400):
        told = in_the_end(EXPECTED, 60.0, SoFar(400, ended, 5_000 * ended, ended / 10))
        cost = told["cost_nusd"]
        ranges.append(cost["p95"] - cost["p50"])
        if ended >= 100:
            assert cost["p50"] == pytest.approx(2_000_000, rel=0.15)
    assert ranges == sorted(ranges, reverse=True)
    assert ranges[-1] == 0
    assert told == {
        "cost_nusd": {"p50": 2_000_000, "p95": 2_000_000},
        "cost_usd": {"p50": "0.002", "p95": "0.002"},
        "seconds_left": 0.0,
    }
    assert in_the_end(EXPECTED, 60.0, SoFar(400, 200, 1, 90.0))["seconds_left"] == 60.0


@given(st.integers(1, 10**6), st.floats(0, 1), st.integers(0, 10**12), st.integers(0, 10**12))
def test_it_is_never_less_than_what_was_spent(jobs: int, part: float, spent: int, p50: int):
    told = in_the_end(
        {"p50": p50, "p95": 2 * p50, "worst": 9 * p50},
        5.0,
        SoFar(jobs, round(part * jobs), spent, 1.0),
    )
    assert spent <= told["cost_nusd"]["p50"] <= told["cost_nusd"]["p95"]


def test_in_the_middle_of_made_up_batches_the_end_lies_below_p95_and_near_the_middle():
    drawn = random.Random(3)
    covered = near = 0
    for _ in range(400):
        size, truth = 200, drawn.lognormvariate(0, 0.4)
        costs = [truth * 5_000 * (11 if drawn.random() < 0.05 else 0.5) for _ in range(size)]
        spent, total = sum(costs[:100]), sum(costs)
        told = in_the_end(EXPECTED, 1.0, SoFar(size, 100, round(spent), 1.0))["cost_nusd"]
        covered += total <= told["p95"]
        near += abs(total / told["p50"] - 1) <= 0.15
    assert covered / 400 >= 0.93
    assert near / 400 > 0.6, "every twentieth job costs twenty times as much as the others"
