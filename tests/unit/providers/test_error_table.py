"""The normalised retry table: every row, on the wire it was seen on."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from shared.catalog.spec import WireName
from worker.providers.errors import (
    AccountRefused,
    RequestRefused,
    Throttled,
    Unavailable,
)
from worker.providers.registry import WIRES

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def openai(message: str = "no", type_: str = "x", code: Any = None):
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


def anthropic(type_: str, message: str = "no", **details: Any):
    error = {"type": type_, "message": message}
    return {"type": "error", "error": {**error, **({"details": details} if details else {})}}


def gemini(
    code: Any,
    status: int,
    message: str = "no",
    quota_id: str | None = None,
    delay: str | None = None,
    reason: str | None = None,
):
    details = []
    if quota_id:
        kind = "type.googleapis.com/google.rpc.QuotaFailure"
        details.append({"@type": kind, "violations": [{"quotaId": quota_id}]})
    if delay:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        details.append({"@type": kind, "retryDelay": delay})
    if reason:
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason})
    return {"error": {"code": code, "status": status, "message": message, "details": details}}


PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
TPM = (
    "Rate limit reached for m on tokens per min (TPM): Limit 30000, Used 28039, Requested 3906. "
    "Please try again in 3.89s."
)

TABLE = [
    # wire, status, headers, body, class, kind (None: any), retry_after_s
    *[("openai", s, {}, openai(), Unavailable, None, None) for s in (408, 409, 425, 498, 500)],
    *[("openai", s, {}, openai(), Unavailable, None, None) for s in (502, 503, 504, 529)],
    *[("openai", s, {}, b"<html>cf</html>", Unavailable, None, None) for s in range(520, 525)],
    *[("openai", s, {}, openai(), RequestRefused, None, None) for s in (400, 404, 413, 422, 501)],
    *[("openai", s, {}, openai(), AccountRefused, None, None) for s in (401, 402, 403)],
    ("openai", 429, {}, openai(TPM, "tokens", "rate_limit_exceeded"), Throttled, "throttled", 3.89),
    ("openai", 429, {"retry-after-ms": "70"}, openai(), Throttled, "throttled", 0.07),
    (
        "openai",
        429,
        {"retry-after": "5"},
        openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
        AccountRefused,
        "insufficient_quota",
        None,
    ),
    (
        "openai",
        429,
        {"retry-after": "605"},
        openai("Rate limit reached on tokens per day (TPD): Limit 1", "tokens"),
        AccountRefused,
        "daily_quota",
        605.0,
    ),
    (
        "openai",
        400,
        {},
        openai("This model's maximum context length is 8192", code="context_length_exceeded"),
        RequestRefused,
        "http_400",
        None,
    ),
    (
        "openai",
        403,
        {},
        openai("Project p does not have access to model m", code="model_not_found"),
        RequestRefused,
        "forbidden",
        None,
    ),
    ("openai", 402, {}, openai("Insufficient Balance"), AccountRefused, "payment_required", None),
    # vLLM: the code is a number; Mistral and older vLLM: no `error` key; FastAPI's detail
    ("openai", 400, {}, openai("no", "BadRequestError", 400), RequestRefused, "http_400", None),
    (
        "openai",
        429,
        {},
        {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited"},
        Throttled,
        "throttled",
        None,
    ),
    (
        "openai",
        422,
        {},
        {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs", "input": "MY PROMPT"}]},
        RequestRefused,
        "http_422",
        None,
    ),
    ("openai", 302, {"location": "http://x"}, b"", RequestRefused, "http_302", None),
    ("anthropic", 529, {}, anthropic("overloaded_error"), Unavailable, "overloaded", None),
    ("anthropic", 504, {}, anthropic("timeout_error"), Unavailable, None, None),
    ("anthropic", 409, {}, anthropic("conflict_error"), Unavailable, None, None),
    ("anthropic", 413, {}, anthropic("request_too_large"), RequestRefused, "too_large", None),
    (
        "anthropic",
        429,
        {"retry-after": "12"},
        anthropic("rate_limit_error"),
        Throttled,
        "throttled",
        12.0,
    ),
    (
        "anthropic",
        429,
        {"retry-after": "7"},
        anthropic("rate_limit_error", error_code="ramp_limit_exceeded"),
        Throttled,
        "throttled",
        7.0,
    ),
    (
        "anthropic",
        429,
        {},
        anthropic("rate_limit_error", error_code="enforced_spend_limit_reached"),
        AccountRefused,
        "enforced_spend_limit_reached",
        None,
    ),
    (
        "anthropic",
        400,
        {},
        anthropic("invalid_request_error", "Your credit balance is too low to access the API"),
        AccountRefused,
        "account_refused",
        None,
    ),
    (
        "anthropic",
        400,
        {},
        anthropic("invalid_request_error", "temperature: Extra inputs are not permitted"),
        RequestRefused,
        "http_400",
        None,
    ),
    (
        "gemini",
        429,
        {},
        gemini(429, "RESOURCE_EXHAUSTED", "Please retry in 46s.", PER_MINUTE, "46s"),
        Throttled,
        "throttled",
        46.0,
    ),
    (
        "gemini",
        429,
        {},
        gemini(429, "RESOURCE_EXHAUSTED", "quota", PER_DAY, "46s"),
        AccountRefused,
        "daily_quota",
        20 * 3600.0,
    ),
    (
        "gemini",
        429,
        {},
        gemini(429, "RESOURCE_EXHAUSTED", "Quota exceeded for metric x, limit: 0", PER_MINUTE),
        AccountRefused,
        "account_refused",
        None,
    ),
    (
        "gemini",
        400,
        {},
        gemini(400, "INVALID_ARGUMENT", "API key not valid.", reason="API_KEY_INVALID"),
        AccountRefused,
        "api_key_invalid",
        None,
    ),
    ("gemini", 400, {}, gemini(400, "FAILED_PRECONDITION"), RequestRefused, "http_400", None),
    ("gemini", 503, {}, [gemini(503, "UNAVAILABLE")], Unavailable, "overloaded", None),
    ("cohere", 498, {}, {"message": "invalid token"}, AccountRefused, None, None),
    ("cohere", 499, {}, {"message": "client closed"}, Unavailable, None, None),
    (
        "cohere",
        429,
        {},
        {"message": "You are using a Trial key, which is limited to 1000 API calls / month."},
        AccountRefused,
        None,
        None,
    ),
    (
        "cohere",
        429,
        {},
        {"message": "You are using a Trial key, which is limited to 20 API calls / minute."},
        Throttled,
        None,
        None,
    ),
]


@pytest.mark.parametrize(("wire", "status", "headers", "body", "error", "kind", "wait"), TABLE)
def test_every_row_of_the_retry_table(
    wire: str,
    status: int,
    headers: dict[str, str],
    body: Any,
    error: Any,
    kind: str | None,
    wait: Any,
):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    found = WIRES[WireName(wire)].classify_error(status, headers, raw, NOW)
    assert type(found) is error
    assert kind is None or found.kind == kind
    assert found.status == status
    assert found.retry_after_s == (None if wait is None else pytest.approx(wait))


def test_the_request_id_is_kept():
    wire = WIRES[WireName.OPENAI]
    found = wire.classify_error(500, {"x-request-id": "req_1"}, b"", NOW)
    assert found.request_id == "req_1"


def test_the_prompt_that_a_validation_error_echoes_is_left_out():
    body = {"detail": [{"loc": ["body", "seed"], "msg": "Extra", "input": "MY PROMPT"}]}
    found = WIRES[WireName.OPENAI].classify_error(422, {}, orjson.dumps(body), NOW)
    assert "MY PROMPT" not in str(found)
    assert "body.seed: Extra" in str(found)


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF123456",
        "sk-ant-api03-xyz_123456",
        "AIzaSyA1234567890abcdef",
        "gsk_abcdefgh12345",
        "Bearer abc.def.ghi",
        "0123456789abcdef0123456789abcdef",
        "api_key=abcdefgh12",
    ],
)
def test_a_key_in_a_message_is_never_shown(secret: str):
    body = openai(f"Incorrect API key provided: {secret} for you.", code="invalid_api_key")
    found = WIRES[WireName.OPENAI].classify_error(401, {}, orjson.dumps(body), NOW)
    assert secret not in str(found)
    assert "[redacted]" in str(found)


def test_a_long_message_is_cut():
    found = WIRES[WireName.OPENAI].classify_error(400, {}, orjson.dumps(openai("no " * 999)), NOW)
    assert len(found.message) <= 300
