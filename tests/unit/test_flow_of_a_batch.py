"""What the benchmark tells of a batch's flow, from what the provider saw."""

import pytest

from benchmarks.flow import Look, flow


def test_only_the_time_between_the_ramp_and_the_last_begun_call_counts_as_sustained() -> None:
    looks = [
        Look(99.0, 300, 0),  # of a batch before
        Look(100.4, 310, 10),
        Look(101.0, 400, 50),
        Look(102.0, 500, 50),
        Look(103.0, 600, 30),
        Look(104.0, 700, 30),
        Look(105.0, 700, 2),  # nothing is left to begin: stragglers only
        Look(109.0, 700, 0),
    ]
    seen = flow(looks, sealed_at=100.0, ended_at=109.5, jobs=400)
    assert seen.to_first_call_s == pytest.approx(0.4)
    assert seen.to_end_s == pytest.approx(0.5)
    assert seen.window_s == pytest.approx(3.0)
    assert seen.sustained_per_s == pytest.approx((700 - 30 - (400 - 50)) / 3)
    assert seen.in_flight == pytest.approx((50 + 50 + 30) / 3)


def test_a_batch_that_is_over_within_the_ramp_sustained_nothing() -> None:
    looks = [Look(100.1, 5, 5), Look(100.6, 10, 3), Look(100.9, 10, 0)]
    seen = flow(looks, sealed_at=100.0, ended_at=101.0, jobs=10)
    assert (seen.window_s, seen.sustained_per_s, seen.in_flight) == (0.0, 0.0, 0.0)
