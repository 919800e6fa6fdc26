"""Two policies side by side: fair dealing, and no verdict that chance could give."""

import random

import pytest

from shared.deciding.trials import Arm, Difference, Sums, arm_of, better, difference


def sums(figures: list[float]) -> Sums:
    return Sums(len(figures), sum(figures), sum(figure**2 for figure in figures))


def test_jobs_are_dealt_by_share_and_always_alike():
    arms = [arm_of("cheaper", 16_777_216 + n, 0.3) for n in range(20_000)]
    assert arms.count(Arm.B) / len(arms) == pytest.approx(0.3, abs=0.01)
    assert arms == [arm_of("cheaper", 16_777_216 + n, 0.3) for n in range(20_000)]
    # Neighbours are no pairs, and another trial deals anew.
    pairs = sum(one is other is Arm.B for one, other in zip(arms[::2], arms[1::2], strict=True))
    assert pairs / 10_000 == pytest.approx(0.09, abs=0.01)
    other = [arm_of("dearer", 16_777_216 + n, 0.3) for n in range(20_000)]
    assert sum(x is y for x, y in zip(arms, other, strict=True)) / 20_000 < 0.62


def test_equal_policies_differ_significantly_as_seldom_as_chance_allows():
    chance = random.Random(5)
    found = sum(
        difference(
            sums([chance.expovariate(1.0) for _ in range(200)]),
            sums([chance.expovariate(1.0) for _ in range(200)]),
        ).is_significant
        for _ in range(400)
    )
    assert found / 400 < 0.09


def test_a_policy_that_costs_half_is_found_better():
    chance = random.Random(6)
    a = sums([chance.expovariate(1 / 2_000.0) for _ in range(300)])
    b = sums([chance.expovariate(1 / 1_000.0) for _ in range(300)])
    none = Difference(None)
    cost = difference(a, b)
    assert cost.value == pytest.approx(-1_000, rel=0.4)
    assert better({"feedback": none, "accepted": none, "cost_nusd": cost}) == (Arm.B, "cost_nusd")


def test_worse_answers_outweigh_a_lower_cost():
    cheaper, worse = Difference(-500.0, 10.0, 0.0001), Difference(-0.1, 0.02, 0.001)
    told = {"feedback": worse, "accepted": Difference(0.0, 0.1, 1.0), "cost_nusd": cheaper}
    assert better(told) == (Arm.A, "feedback")


def test_few_jobs_show_nothing():
    few = difference(sums([1.0] * 29), sums([2.0] * 500))
    assert (few.value, few.p, few.is_significant) == (1.0, None, False)
    assert difference(Sums(), Sums(3, 3, 3)) == Difference(None)
