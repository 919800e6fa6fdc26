"""Payloads are thin and exact, signatures verify, and the schedule is the one that was promised."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from shared.clock import utc_now
from shared.db.repositories.webhook_endpoints import new_secret
from shared.errors import UsageError
from shared.webhooks import events
from worker.webhooks import signing
from worker.webhooks.schedule import DELAYS_S, delay_before_next

AT = datetime(2026, 11, 21, 12, 0, 0, 999, tzinfo=UTC)


def test_a_batch_event_is_shaped_like_openais():
    told = json.loads(events.payload("evt_1", "batch.completed", AT, {"id": "batch_1"}))
    assert told == {
        "id": "evt_1",
        "object": "event",
        "created_at": 1795262400,
        "type": "batch.completed",
        "data": {"id": "batch_1"},
    }


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("batch.paused", {"id": "batch_1"}),
        ("batch.completed", {}),
        ("batch.completed", {"id": "batch_1", "prompt": "secret"}),
        ("budget.threshold", {"id": "day:acme:2026-11-21"}),
    ],
)
def test_what_is_no_event_cannot_be_told(event_type: str, data: dict[str, str]):
    with pytest.raises(ValidationError):
        events.payload("evt_1", event_type, AT, data)


def test_endpoints_get_openais_types_unless_they_ask_for_ours():
    assert events.checked_types(None) == list(events.DEFAULT_TYPES)
    assert events.checked_types(["job.completed", "job.completed"]) == ["job.completed"]
    assert not set(events.DEFAULT_TYPES) & set(events.OWN_TYPES)


@pytest.mark.parametrize("wanted", [[], ["batch.progress"], ["batch.completed", "*"]])
def test_unknown_or_no_types_are_refused(wanted: list[str]):
    with pytest.raises(UsageError) as refusal:
        events.checked_types(wanted)
    assert refusal.value.param == "event_types"


def test_while_a_rotation_overlaps_either_secret_verifies():
    secrets = (new_secret(), new_secret())
    headers = signing.headers("evt_1", utc_now(), '{"a": 1}', secrets)
    for secret in secrets:
        assert Webhook(secret).verify('{"a": 1}', headers) == {"a": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify('{"a": 1}', headers)


def test_a_changed_payload_does_not_verify():
    secret = new_secret()
    headers = signing.headers("evt_1", utc_now(), "{}", [secret])
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify("{ }", headers)


def test_a_delivery_is_tried_eight_times_over_about_28_hours():
    delays = [delay_before_next(made, 0.0) for made in range(9)]
    assert delays == [0, 5, 300, 1800, 7200, 18000, 36000, 36000, None]
    assert sum(DELAYS_S) / 3600 == pytest.approx(27.6, abs=0.1)


@given(
    st.integers(0, 20),
    st.floats(0, 1),
    st.one_of(st.none(), st.floats(0, 1e9)),
)
def test_a_delay_is_never_shorter_than_promised_nor_much_longer(
    made: int, chance: float, retry_after: float | None
):
    delay = delay_before_next(made, chance, retry_after)
    if made >= len(DELAYS_S):
        assert delay is None
    else:
        assert delay is not None
        assert DELAYS_S[made] <= delay <= max(DELAYS_S[made] * 1.1, 36_000)
        assert delay >= min(retry_after or 0, 36_000)
