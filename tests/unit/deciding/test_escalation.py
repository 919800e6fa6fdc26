"""What follows a verdict, and which answer is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deciding.escalation import best_of, next_step
from shared.domain.decisions import Accept, Climb, Mode, Route, Rung, Verdict
from shared.domain.inference import Tier

LADDER = tuple(Rung(tier, (tier.value,)) for tier in Tier)
GOOD = Verdict(accepted=True, score=1.0)
WEAK = Verdict(accepted=False, score=0.3, reasons=("empty", "truncated"))


def ladder(max_climbs: int = 2, rungs: int = 3) -> Route:
    return Route(Mode.AUTO, LADDER[:rungs], max_climbs=max_climbs)


def test_a_good_answer_is_kept_at_once() -> None:
    assert next_step(ladder(), 0, 0, GOOD) == Accept("accepted")


def test_a_weak_answer_climbs_with_its_reasons() -> None:
    assert next_step(ladder(), 0, 0, WEAK) == Climb(1, "empty; truncated")
    assert next_step(ladder(), 1, 1, WEAK) == Climb(2, "empty; truncated")


def test_climbing_ends_with_the_ladder_or_the_number_of_climbs() -> None:
    assert isinstance(next_step(ladder(), 2, 1, WEAK), Accept)
    assert isinstance(next_step(ladder(max_climbs=1), 1, 1, WEAK), Accept)
    assert isinstance(next_step(ladder(max_climbs=0), 0, 0, WEAK), Accept)
    assert isinstance(next_step(ladder(rungs=1), 0, 0, WEAK), Accept)


VERDICTS = st.builds(Verdict, accepted=st.booleans(), score=st.floats(0, 1))


@given(st.lists(VERDICTS, min_size=1, max_size=4))
def test_the_kept_answer_is_the_best_and_of_equals_the_later(verdicts: list[Verdict]) -> None:
    kept = best_of(verdicts)
    for place, verdict in enumerate(verdicts):
        better = (verdict.accepted, verdict.score) > (verdicts[kept].accepted, verdicts[kept].score)
        equal = (verdict.accepted, verdict.score) == (verdicts[kept].accepted, verdicts[kept].score)
        assert not better
        assert not (equal and place > kept)


@given(st.lists(VERDICTS, min_size=6, max_size=6), st.integers(0, 2), st.integers(1, 3))
def test_no_route_climbs_more_than_allowed(
    verdicts: list[Verdict], climbs: int, rungs: int
) -> None:
    found, rung, made = ladder(climbs, rungs), 0, 0
    for verdict in verdicts:
        step = next_step(found, rung, made, verdict)
        if isinstance(step, Accept):
            break
        assert step.rung == rung + 1
        rung, made = step.rung, made + 1
    assert made <= min(climbs, rungs - 1)


def test_without_an_answer_there_is_nothing_to_keep() -> None:
    with pytest.raises(ValueError, match="no answer"):
        best_of([])
