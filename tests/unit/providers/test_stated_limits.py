"""What headers state of limits: whose names are read, and what is believed to be a minute's."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from worker.providers.stated_limits import NOTHING_STATED

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def openai(limit: object, remaining: object, reset: str, kind: str = "requests") -> dict[str, str]:
    return {
        f"X-RateLimit-Limit-{kind.title()}": str(limit),
        f"x-ratelimit-remaining-{kind}": str(remaining),
        f"x-ratelimit-reset-{kind}": reset,
    }


def test_openais_headers_state_requests_and_tokens():
    headers = {**openai(500, 480, "2.4s"), **openai(30_000, 20_000, "20s", "tokens")}
    stated = NOTHING_STATED.heard(headers, NOW)
    assert (stated.rpm(None), stated.tpm(None)) == (500, 30_000)
    assert stated.requests is not None
    assert stated.requests.remaining == 480


def test_anthropics_headers_state_them_with_a_moment_of_reset():
    moment = (NOW + timedelta(seconds=30)).isoformat()
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "25",
        "anthropic-ratelimit-requests-reset": moment,
        "anthropic-ratelimit-tokens-limit": "40000",
        "anthropic-ratelimit-tokens-reset": moment,
        "anthropic-ratelimit-input-tokens-limit": "30000",
        "anthropic-ratelimit-output-tokens-limit": "8000",
    }
    stated = NOTHING_STATED.heard(headers, NOW)
    assert (stated.rpm(None), stated.tpm(None)) == (50, 40_000)
    assert (stated.input_tpm(None), stated.output_tpm(None)) == (30_000, 8000)


def test_a_limit_of_a_day_is_none_of_a_minute():
    stated = NOTHING_STATED.heard(openai(14_400, 14_370, "2m59.56s"), NOW)
    assert stated.rpm(None) is None
    assert stated.rpm(20_000) is None
    by_name = NOTHING_STATED.heard({"x-ratelimit-limit-requests-day": "900"}, NOW)
    assert by_name is NOTHING_STATED


def test_what_may_be_a_limit_of_a_second_is_not_taken_for_a_minutes():
    stated = NOTHING_STATED.heard(openai(50, 20, "600ms"), NOW)
    assert stated.rpm(None) is None
    assert stated.rpm(3000) is None
    assert stated.rpm(200) == 50  # of the catalog's order: a lower limit, of a key that rests
    later = stated.heard(openai(50, 45, "5s"), NOW)
    assert later.rpm(3000) == 50


def test_a_minute_named_by_the_header_is_believed_at_once():
    stated = NOTHING_STATED.heard({"x-ratelimit-limit-req-minute": "60"}, NOW)
    assert stated.rpm(None) == 60


def test_a_changed_limit_counts_from_the_first_answer_that_states_it():
    stated = NOTHING_STATED.heard(openai(3000, 10, "59s"), NOW)
    lowered = stated.heard(openai(1500, 10, "58s"), NOW)
    assert lowered.rpm(3000) == 1500


@given(
    st.dictionaries(
        st.sampled_from(
            ["x-ratelimit-limit-requests", "x-ratelimit-reset-requests", "x-ratelimit-limit", "a"]
        ),
        st.text(max_size=20),
    )
)
def test_no_header_makes_it_fail_and_no_limit_is_ever_below_one(headers: dict[str, str]):
    stated = NOTHING_STATED.heard(headers, NOW)
    for limit in (stated.rpm(None), stated.rpm(10), stated.tpm(5)):
        assert limit is None or limit >= 1
