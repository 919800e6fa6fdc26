"""A submission's options: windows, amounts, metadata."""

from datetime import timedelta

import pytest

from producer.options import Options, metadata, text, usd, window_of
from shared.domain.batch import Priority
from shared.errors import UsageError


@pytest.mark.parametrize(
    ("given", "seconds"), [("24h", 86400), ("60s", 60), ("1m", 60), ("30d", 2_592_000)]
)
def test_a_window_is_a_number_with_its_unit(given: str, seconds: int):
    assert window_of(given) == timedelta(seconds=seconds)


@pytest.mark.parametrize("given", ["", "59s", "31d", "24", "h", "1.5h", "-1h", "24h\n", "٢٤h"])
def test_any_other_window_is_refused(given: str):
    with pytest.raises(UsageError) as refusal:
        window_of(given)
    assert refusal.value.param == "completion_window"


@pytest.mark.parametrize("given", [True, "x", -1, "1e400", float("nan"), None, "9000001"])
def test_what_is_no_amount_is_refused(given: object):
    with pytest.raises(UsageError):
        usd(given, "max_cost_usd")


def test_amounts_are_exact():
    assert usd(0.1, "x") == usd("0.10", "x") == 100_000_000


@pytest.mark.parametrize("given", [[], {"a": 1}, {"a" * 65: "x"}, {"a": "x" * 513}, {"a": "\0"}])
def test_metadata_beyond_openais_bounds_is_refused(given: object):
    with pytest.raises(UsageError):
        metadata(given)


def test_an_empty_text_is_none():
    assert text("", "name", 5) is None


def test_every_option_but_key_and_project_is_part_of_the_fingerprint():
    plain = Options("p").fingerprint()
    assert Options("p", idempotency_key="k").fingerprint() == plain
    for other in (
        Options("p", priority=Priority.INTERACTIVE),
        Options("p", strict=True),
        Options("p", completion_window="1h"),
        Options("p", max_cost_nusd=1),
        Options("p", name="n"),
        Options("p", metadata={"a": "b"}),
        Options("p", webhook_url="https://example.com"),
    ):
        assert other.fingerprint() != plain
