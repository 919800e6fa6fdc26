"""What answers cost is learned per batch, with doubt where little was seen."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.planning.line_costs import answer_within
from shared.deciding.answer_kinds import MARKS, AnswerKind, kind_of, kind_of_task
from shared.deciding.cost_tallies import HALF_LIFE_S, BatchSums, Tally
from shared.deciding.estimation import EXPECTED_OUTPUT_TOKENS
from shared.deciding.expectations import Expectation, Expectations
from shared.domain.inference import Request, TaskType, Tier

CODING, FACTS = kind_of_task(TaskType.CODING), kind_of_task(TaskType.SIMPLE_QA)


def of(expectations: Expectations, model: str = "m", kind: AnswerKind = CODING) -> Expectation:
    return expectations.of(model, Tier.CHEAP, kind)


def asked_for(text: str, max_tokens: int | None = None) -> AnswerKind:
    messages = ({"role": "user", "content": text},)
    return kind_of(Request(messages=messages, max_tokens=max_tokens), TaskType.CODING)


def known(*seen: tuple[str, Tally], kind: str = CODING.name) -> Expectations:
    return Expectations({(model, kind): tally for model, tally in seen})


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
        longest=3 * mean,
    )


def after(*batches: BatchSums) -> Tally:
    tally = Tally()
    for one in batches:
        tally = tally.with_batch(Tally.of(one), 0.0)
    return tally


def test_before_anything_is_learned_the_priors_stand_with_a_large_doubt():
    nothing = of(Expectations())
    assert nothing.output_tokens == pytest.approx(EXPECTED_OUTPUT_TOKENS[TaskType.CODING])
    assert nothing.doubt > 0.8
    assert nothing.longest == math.inf
    assert nothing.latency_s is None


def test_a_project_that_has_run_batches_is_known_by_them():
    told = of(known(("m", after(*[batch(mean=120, weak=40)] * 8))))
    assert told.output_tokens == pytest.approx(120, rel=0.03)
    assert told.spread == pytest.approx(0.5, rel=0.05)
    assert told.weak == pytest.approx(0.1, rel=0.1)
    assert told.tokens_per_byte == pytest.approx(0.3, rel=0.02)
    assert told.latency_s == pytest.approx(1.5)
    assert told.doubt < 0.15


def test_what_one_model_writes_tells_something_of_another_and_less_of_other_tasks():
    seen = known(("m", after(*[batch(mean=50)] * 6)))
    other = of(seen, "other")
    assert 50 < other.output_tokens < CODING.tokens / 2
    assert of(seen).doubt < other.doubt
    elsewhere = of(seen, "other", FACTS)
    assert other.output_tokens / CODING.tokens < elsewhere.output_tokens / FACTS.tokens < 1
    assert elsewhere.doubt > other.doubt


def test_a_template_that_was_seen_says_more_than_its_kind_and_one_that_was_not_says_nothing():
    mark = f"{MARKS[0]}t"
    seen = Expectations(
        {
            ("m", CODING.name): after(*[batch(mean=300, weak=40)] * 6),
            ("m", mark): after(*[batch(50, mean=8)] * 2),
        }
    )
    usual = of(seen)
    made = of(seen, kind=replace(CODING, marks=(mark, f"{MARKS[1]}x")))
    assert made.output_tokens == pytest.approx(8, rel=0.15)
    assert made.weak < usual.weak / 2
    assert made.longest < 0.1 * usual.longest
    assert of(seen, kind=replace(CODING, marks=(f"{MARKS[2]}new",))) == usual
    unseen_model = of(seen, "other", replace(CODING, marks=(mark,)))
    assert unseen_model.output_tokens < 30
    assert unseen_model.doubt > made.doubt


def test_the_newer_batches_count_for_more_than_those_of_long_ago():
    short, long = Tally.of(batch(mean=100)), Tally.of(batch(mean=400))
    soon = of(known(("m", short.with_batch(long, 0.0))))
    late = of(known(("m", short.with_batch(long, 4 * HALF_LIFE_S))))
    assert late.output_tokens > soon.output_tokens


def test_a_huge_batch_weighs_little_more_than_a_large_one():
    large, huge = Tally.of(batch(200)), Tally.of(batch(200_000))
    assert huge.batches < 1.06 * large.batches


def test_batches_that_differ_widen_the_spread_between_batches():
    alike = of(known(("m", after(*[batch(mean=100)] * 8))))
    apart = of(known(("m", after(*(batch(mean=m) for m in [40, 250] * 4)))))
    assert alike.between < 0.2
    assert apart.between > 0.5
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
    told = of(known(("m", after(*batches))))
    figures = (
        told.output_tokens, told.spread, told.doubt, told.weak, told.weak_doubt,
        told.tokens_per_byte, told.between, told.degrees,
    )  # fmt: skip
    assert all(math.isfinite(figure) and figure > 0 for figure in figures)
    assert told.weak < 1


def test_a_kind_that_was_not_seen_is_expected_as_others_of_the_project_were():
    long = known(("m", after(*[batch(mean=3 * round(CODING.tokens), weak=120)] * 4)))
    fact = of(long, kind=FACTS)
    assert 1.3 * FACTS.tokens < fact.output_tokens < 3 * FACTS.tokens
    assert fact.weak > 1.2 * of(Expectations(), kind=FACTS).weak


def test_where_wishes_for_a_length_are_not_heeded_the_next_is_not_believed():
    word, sentence = (asked_for(text) for text in ("Answer yes or no.", "Say it in one sentence."))
    heeded = known(("m", after(*[batch(mean=9)] * 3)), kind=word.name)
    ignored = known(("m", after(*[batch(mean=200)] * 3)), kind=word.name)
    assert of(heeded, kind=sentence).output_tokens == pytest.approx(sentence.tokens, rel=0.1)
    assert of(heeded, kind=sentence).doubt < of(Expectations(), kind=sentence).doubt
    assert of(ignored, kind=sentence).output_tokens == pytest.approx(200, rel=0.3)


def test_what_a_small_limit_leaves_follows_from_what_is_written_without_it():
    seen = Expectations({("m", CODING.name): after(*[batch(mean=100)] * 3)})
    short = asked_for("Write a function.", max_tokens=16)
    expected, mean, _ = answer_within(of(seen, kind=short), 16)
    assert (mean, expected.weak) == (pytest.approx(16, rel=0.05), pytest.approx(1, abs=0.1))
    own = replace(batch(mean=10, weak=8, spread=0.2), longest=16)
    learned = Expectations(
        {("m", CODING.name): after(batch(mean=100)), ("m", short.name): after(*[own] * 3)}
    )
    expected, mean, _ = answer_within(of(learned, kind=short), 16)
    assert mean == pytest.approx(10, rel=0.2)
    assert expected.weak < 0.1
    other = asked_for("Write a function.", max_tokens=40)
    assert of(learned, kind=other).output_tokens < 64
    assert answer_within(of(learned, kind=other), 40)[0].weak < 0.3
