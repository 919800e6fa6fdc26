"""Which error an HTTP answer outside 2xx means: one table for all wires, pure.

By status, except where vendors hide an account's end or a daily quota behind 400, 403 or 429:
those are told by their codes and phrases.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from worker.providers.errors import (
    AccountRefused,
    ProviderError,
    RequestRefused,
    Throttled,
    Unavailable,
)
from worker.providers.json_body import parse_json
from worker.providers.retry_after import retry_after_s

_ACCOUNT_CODES: Final = frozenset(
    {
        "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error",
        "account_deactivated", "invalid_api_key", "api_key_invalid", "authentication_error",
        "enforced_spend_limit_reached", "contract_spend_limit_reached",
        "insufficient_credits", "insufficient_balance",
    }
)  # fmt: skip
_ACCOUNT_PHRASES: Final = re.compile(
    r"credit balance is too low|credits are depleted|insufficient (?:balance|credits|funds)"
    r"|spend(?:ing)? limit"
    r"|specified api usage limits|api key not valid|invalid api key|incorrect api key"
    r"|api key expired|\blimit: 0\b|trial key.{0,80}month|billing hard limit",
    re.IGNORECASE | re.DOTALL,
)
_DAILY: Final = re.compile(
    r"perday|(?:requests|tokens) per day|\((?:RPD|TPD)\)|free-models-per-day", re.IGNORECASE
)
_NOT_THE_KEY: Final = re.compile(
    r"moderation|flagged|safety|does not have access to model|model_not_found|content.policy",
    re.IGNORECASE,
)
_UNAVAILABLE: Final = frozenset({408, 409, 425, 498, 499, 529})
_THROTTLED: Final = frozenset({420, 429})
_KEY_REFUSED: Final = frozenset({401, 402, 407})
# Google's daily quotas return at midnight Pacific time: 07:00 UTC in summer, 08:00 in winter.
_DAILY_RESET_HOUR_UTC: Final = 8
_CREDIBLE_DAILY_WAIT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What an error body says, whatever its shape; "" for what it does not say."""

    message: str = ""
    type: str = ""
    codes: frozenset[str] = frozenset()
    quotas: str = ""
    retry_delay: str | None = None


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    *,
    key_refused: frozenset[int] = _KEY_REFUSED,
) -> ProviderError:
    """The error. key_refused: the statuses by which this wire's hosts refuse a key."""
    facts = error_facts(body)
    wait = retry_after_s(headers, facts.message, now, retry_delay=facts.retry_delay)
    error, kind = _meaning(status, facts, key_refused)
    if kind == "daily_quota" and (wait is None or wait < _CREDIBLE_DAILY_WAIT_S):
        wait = _until_daily_reset(now)
    elif error is AccountRefused and kind != "daily_quota":
        wait = None  # no promise of the provider ends this: it is probed instead
    elif error is RequestRefused:
        wait = None
    return error(
        kind,
        facts.message or f"HTTP {status}",
        status=status,
        retry_after_s=wait,
        request_id=_request_id(headers),
    )


def error_facts(body: bytes) -> ErrorFacts:
    """Read an error body: `{"error": {..}}`, `{"error": ".."}`, fields at the top (Mistral, older
    vLLM, Cohere), `{"detail": ..}`, Google's list of one, or plain text.
    """
    value = parse_json(body)
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        text = body[:400].decode("utf-8", "replace")
        return ErrorFacts("" if "<" in text else text)
    inner = value.get("error")
    source = inner if isinstance(inner, dict) else value
    message = _text(source.get("message")) or _text(inner) or _detail(value.get("detail"))
    details = source.get("details")
    return ErrorFacts(
        message=message,
        type=_text(source.get("type")).lower(),
        codes=frozenset(_codes(source, details)),
        quotas=" ".join(_quota_ids(details)),
        retry_delay=next(_retry_delays(details), None),
    )


def _meaning(  # noqa: PLR0911 - a row of the table each
    status: int, facts: ErrorFacts, key_refused: frozenset[int]
) -> tuple[type[ProviderError], str]:
    said = facts.codes | {facts.type}
    if status in key_refused or said & _ACCOUNT_CODES or _is_account(status, facts):
        return AccountRefused, _account_kind(status, said)
    if status in _THROTTLED:
        if _DAILY.search(facts.quotas) or _DAILY.search(facts.message):
            return AccountRefused, "daily_quota"
        return Throttled, "throttled"
    if status == 403:  # noqa: PLR2004 - HTTP's own numbers read best as such
        if _NOT_THE_KEY.search(" ".join((facts.message, *said))):
            return RequestRefused, "forbidden"
        return AccountRefused, "forbidden"
    if status in _UNAVAILABLE or (status >= 500 and status != 501):  # noqa: PLR2004
        return Unavailable, "overloaded" if status in (503, 529) else f"http_{status}"
    return RequestRefused, {404: "not_found", 413: "too_large"}.get(status, f"http_{status}")


def _is_account(status: int, facts: ErrorFacts) -> bool:
    return 400 <= status < 500 and bool(_ACCOUNT_PHRASES.search(facts.message))  # noqa: PLR2004


def _account_kind(status: int, said: frozenset[str] | set[str]) -> str:
    named = sorted(said & _ACCOUNT_CODES)
    if named:
        return named[0]
    return {401: "invalid_key", 402: "payment_required"}.get(status, "account_refused")


def _codes(source: Mapping[str, Any], details: Any) -> Iterator[str]:
    for name in ("code", "status"):
        if isinstance(source.get(name), str):
            yield source[name].lower()
    parts = details if isinstance(details, list) else [details]
    for part in parts:
        if isinstance(part, dict):
            for name in ("error_code", "reason"):
                if isinstance(part.get(name), str):
                    yield part[name].lower()


def _quota_ids(details: Any) -> Iterator[str]:
    for part in details if isinstance(details, list) else ():
        violations = part.get("violations") if isinstance(part, dict) else None
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                yield _text(violation.get("quotaId"))


def _retry_delays(details: Any) -> Iterator[str]:
    for part in details if isinstance(details, list) else ():
        if isinstance(part, dict) and isinstance(part.get("retryDelay"), str):
            yield part["retryDelay"]


def _detail(detail: Any) -> str:
    """FastAPI's `detail`: its `input` fields echo the request and are left out."""
    if isinstance(detail, str):
        return detail
    lines = []
    for part in detail[:5] if isinstance(detail, list) else ():
        if isinstance(part, dict):
            place = part.get("loc")
            where = ".".join(map(str, place[:8])) if isinstance(place, list) else ""
            lines.append(f"{where}: {_text(part.get('msg'))}")
    return "; ".join(lines)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _until_daily_reset(now: datetime) -> float:
    reset = now.astimezone(UTC).replace(
        hour=_DAILY_RESET_HOUR_UTC, minute=0, second=0, microsecond=0
    )
    if reset <= now:
        reset += timedelta(days=1)
    return (reset - now).total_seconds()


def _request_id(headers: Mapping[str, str]) -> str | None:
    for name in ("x-request-id", "request-id", "x-debug-trace-id", "cf-ray"):
        if headers.get(name):
            return headers[name][:128]
    return None
