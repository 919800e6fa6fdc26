"""Costs are exact and a reservation is never below what a call can cost."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from shared.catalog.pricing import cost_nusd, worst_case_nusd
from shared.catalog.spec import Price, Rates
from shared.domain.inference import Usage

RATE = st.fractions(min_value=0, max_value=200_000, max_denominator=10_000)
RATES = st.builds(
    Rates, input=RATE, output=RATE, cached_input=RATE, cache_write=RATE, cache_write_1h=RATE
)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    thresholds = sorted(draw(st.sets(st.integers(1, 3000), max_size=3)))
    return Price(base=draw(RATES), above=tuple((t, draw(RATES)) for t in thresholds))


def rates(value: int, output: int) -> Rates:
    per_token = Fraction(value)
    return Rates(per_token, Fraction(output), per_token, per_token, per_token)


COUNT = st.integers(0, 1000)


SPARE = st.integers(0, 500)
USAGE = st.builds(
    Usage,
    input_tokens=COUNT,
    cached_tokens=COUNT,
    cache_write_tokens=COUNT,
    cache_write_1h_tokens=COUNT,
    output_tokens=COUNT,
)


@given(prices(), USAGE, SPARE, SPARE)
def test_no_usage_within_the_bounds_costs_more_than_the_worst_case(
    price: Price, usage: Usage, spare_input: int, spare_output: int
) -> None:
    bound = worst_case_nusd(
        price, usage.total_input_tokens + spare_input, usage.output_tokens + spare_output
    )
    assert cost_nusd(price, usage) <= bound


@given(prices(), USAGE, SPARE)
def test_without_one_hour_cache_writes_the_tighter_bound_holds_too(
    price: Price, usage: Usage, spare: int
) -> None:
    usage = replace(usage, cache_write_1h_tokens=0)
    total = usage.total_input_tokens + spare
    tight = worst_case_nusd(price, total, usage.output_tokens, writes_1h_cache=False)
    loose = worst_case_nusd(price, total, usage.output_tokens)
    assert cost_nusd(price, usage) <= tight <= loose


@given(prices(), st.integers(0, 5000), COUNT)
def test_the_worst_case_is_attained_by_some_usage(price: Price, inputs: int, output: int) -> None:
    totals = {inputs, *(t for t, _ in price.above if t <= inputs)}
    attained = max(
        cost_nusd(price, usage)
        for total in totals
        for usage in (
            Usage(total, 0, 0, 0, output),
            Usage(0, total, 0, 0, output),
            Usage(0, 0, total, 0, output),
            Usage(0, 0, 0, total, output),
        )
    )
    assert attained == worst_case_nusd(price, inputs, output)


@given(prices(), USAGE)
def test_the_cost_is_the_exact_sum_rounded_up_once(price: Price, usage: Usage) -> None:
    at = price.base
    for threshold, dearer in price.above:
        if usage.total_input_tokens > threshold:
            at = dearer
    exact = (
        at.input * usage.input_tokens
        + at.cached_input * usage.cached_tokens
        + at.cache_write * usage.cache_write_tokens
        + at.cache_write_1h * usage.cache_write_1h_tokens
        + at.output * usage.output_tokens
    )
    assert exact <= cost_nusd(price, usage) < exact + 1


def test_a_cheap_model_costs_what_its_price_list_says() -> None:
    # 0.20 and 1.20 USD per million tokens: 200 and 1,200 nano-dollars each
    price = Price(base=rates(200, 1200))
    assert cost_nusd(price, Usage(input_tokens=1000, output_tokens=500)) == 800_000


def test_a_long_prompt_is_priced_wholly_at_the_long_context_rates() -> None:
    price = Price(base=rates(1, 2), above=((100, rates(3, 4)),))
    assert cost_nusd(price, Usage(input_tokens=100, output_tokens=1)) == 102
    assert cost_nusd(price, Usage(input_tokens=101, output_tokens=1)) == 307
    assert cost_nusd(price, Usage(input_tokens=50, cached_tokens=51)) == 303


def test_a_fraction_of_a_nano_dollar_is_rounded_up_only_once() -> None:
    third = Fraction(1, 3)
    price = Price(base=Rates(third, third, third, third, third))
    assert cost_nusd(price, Usage(1, 1, 1)) == 1
    assert cost_nusd(price, Usage(1, 1, 1, 1)) == 2


def test_a_free_model_costs_nothing() -> None:
    price = Price(base=rates(0, 0))
    assert cost_nusd(price, Usage(1000, 0, 0, 0, 1000)) == 0
    assert worst_case_nusd(price, 10_000, 10_000) == 0
