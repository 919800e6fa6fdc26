"""How a provider counts tokens, told by what its answers say remains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.providers.counting import Counting, Departed

LIMIT = 100_000


def seen(calls: int, asked: int, taken: int, in_flight: int, counts: str) -> bool:
    """Whether any answer of so many calls in a row shows that nothing is given back."""
    counting = Counting()
    shown = False
    for place in range(1, calls + 1):
        ended = max(0, place - in_flight)
        gone = {
            "asked": place * asked,
            "corrected": place * asked - ended * (asked - taken),
            "used": ended * taken,
        }[counts]
        at = Departed(place * asked, ended * (asked - taken))
        shown |= counting.gives_nothing_back(LIMIT, max(0, LIMIT - gone), at)
    return shown


def test_a_provider_that_counts_what_calls_ask_for_is_known_within_a_few_answers():
    assert seen(20, 300, 70, 5, "asked")


@pytest.mark.parametrize("counts", ["corrected", "used"])
@given(asked=st.integers(100, 5000), share=st.floats(0.01, 1.0), in_flight=st.integers(0, 100))
def test_one_that_gives_back_or_counts_what_was_used_is_never_taken_for_it(
    counts: str, asked: int, share: float, in_flight: int
):
    calls = LIMIT // asked
    assert not seen(calls, asked, max(1, int(asked * share)), in_flight, counts)


def test_a_window_that_begins_anew_is_not_compared_with_the_one_before():
    counting = Counting()
    assert not counting.gives_nothing_back(LIMIT, 50_000, Departed(0, 0))
    assert not counting.gives_nothing_back(LIMIT, 99_000, Departed(60_000, 20_000))
    assert not counting.gives_nothing_back(LIMIT, 95_000, Departed(64_000, 21_500))
    assert counting.gives_nothing_back(LIMIT, 90_000, Departed(69_000, 24_500))


def test_of_a_key_paced_by_what_calls_ask_for_hardly_anything_remains():
    assert Counting.is_still_so(LIMIT, 1000)
    assert not Counting.is_still_so(LIMIT, 70_000)
