"""What answers cost is learned per batch, with doubt where little was seen."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deciding.estimation import EXPECTED_OUTPUT_TOKENS
from shared.deciding.expectations import HALF_LIFE_S, BatchSums, Expectations, Tally
from shared.domain.inference import TaskType

CODING, FACTS = TaskType.CODING, TaskType.SIMPLE_QA


def batch(answers: int = 400, mean: int = 100, weak: int = 0, spread: float = 0.5) -> BatchSums:
    return BatchSums(
        answers=answers,
        output_tokens=answers * mean,
        output_squares=answers * mean**2 * (1 + spread**2),
        input_tokens=answers * 30,
        input_bytes=answers * 100,
        weak=weak,
        latency_ms=answers * 1500,
        timed=answers,
    )


def after(*batches: BatchSums) -> Tally:
    tally = Tally()
    for one in batches:
        tally = tally.with_batch(Tally.of(one), 0.0)
    return tally


def test_before_anything_is_learned_the_priors_stand_with_a_large_doubt():
    nothing = Expectations().of("m", CODING)
    assert nothing.output_tokens == pytest.approx(EXPECTED_OUTPUT_TOKENS[CODING])
    assert nothing.doubt > 0.8
    assert nothing.latency_s is None


def test_a_project_that_has_run_batches_is_known_by_them():
    told = Expectations({("m", CODING): after(*[batch(mean=120, weak=40)] * 8)}).of("m", CODING)
    assert told.output_tokens == pytest.approx(120, rel=0.03)
    assert told.spread == pytest.approx(0.5, rel=0.05)
    assert told.weak == pytest.approx(0.1, rel=0.1)
    assert told.tokens_per_byte == pytest.approx(0.3, rel=0.02)
    assert told.latency_s == pytest.approx(1.5)
    assert told.doubt < 0.15


def test_what_one_model_writes_tells_something_of_another_on_the_same_tasks_only():
    known = Expectations({("m", CODING): after(*[batch(mean=50)] * 6)})
    prior = EXPECTED_OUTPUT_TOKENS[CODING]
    assert 50 < known.of("other", CODING).output_tokens < prior / 2
    assert known.of("m", CODING).doubt < known.of("other", CODING).doubt
    assert known.of("other", FACTS).output_tokens == pytest.approx(EXPECTED_OUTPUT_TOKENS[FACTS])


def test_the_newer_batches_count_for_more_than_those_of_long_ago():
    short, long = Tally.of(batch(mean=100)), Tally.of(batch(mean=400))
    soon = Expectations({("m", CODING): short.with_batch(long, 0.0)}).of("m", CODING)
    late = Expectations({("m", CODING): short.with_batch(long, 4 * HALF_LIFE_S)}).of("m", CODING)
    assert late.output_tokens > soon.output_tokens


def test_a_huge_batch_weighs_little_more_than_a_large_one():
    large, huge = Tally.of(batch(200)), Tally.of(batch(200_000))
    assert huge.batches < 1.06 * large.batches


def test_batches_that_differ_widen_the_spread_between_batches():
    alike = Expectations({("m", CODING): after(*[batch(mean=100)] * 8)})
    apart = Expectations({("m", CODING): after(*(batch(mean=m) for m in [40, 250] * 4))})
    assert alike.batch_spread < 0.2
    assert apart.batch_spread > 0.5
    assert alike.degrees == pytest.approx(apart.degrees)


@given(
    st.lists(
        st.builds(
            batch,
            answers=st.integers(0, 10_000),
            mean=st.integers(0, 9_000),
            spread=st.floats(0, 5),
        ),
        max_size=6,
    )
)
def test_whatever_was_seen_what_is_expected_is_a_usable_figure(batches: list[BatchSums]):
    expectations = Expectations({("m", CODING): after(*batches)})
    told = expectations.of("m", CODING)
    figures = (
        told.output_tokens, told.spread, told.doubt, told.weak, told.weak_doubt,
        told.tokens_per_byte, expectations.batch_spread, expectations.degrees,
    )  # fmt: skip
    assert all(math.isfinite(figure) and figure > 0 for figure in figures)
    assert told.weak < 1
