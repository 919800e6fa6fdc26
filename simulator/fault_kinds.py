"""The kinds of faults a scenario can order, and the ways a wait is told.

Kinds by what they do to a call:
  refused before any work, not billed   429 500 502 503 504 529 400 401 402 403 404
                                        insufficient_quota credit_too_low
  the connection                        hang (billed if the rule says so), cut_before (not billed),
                                        cut_after (billed)
  the answer, billed                    truncated refused blocked invalid_json empty weak bad_code
                                        garbage (200 without JSON)
  the pace                              slow, blank_lines (keep-alive before the JSON)
  nothing                               none (shields the call from later rules)
"""

from typing import Final

PROBLEM_STATUS: Final = {
    "400": (400, "invalid_request"),
    "401": (401, "unauthenticated"),
    "402": (402, "payment_required"),
    "403": (403, "forbidden"),
    "404": (404, "not_found"),
    "429": (429, "rate_limited"),
    "500": (500, "server_error"),
    "502": (502, "bad_gateway"),
    "503": (503, "unavailable"),
    "504": (504, "timeout"),
    "529": (529, "overloaded"),
    "insufficient_quota": (429, "insufficient_quota"),
    "credit_too_low": (400, "credit_too_low"),
}
ANSWER_FAULTS: Final = (
    "truncated", "refused", "blocked", "invalid_json", "empty", "weak", "bad_code",
)  # fmt: skip
CONNECTION_FAULTS: Final = ("hang", "cut_before", "cut_after")
PACE_FAULTS: Final = ("slow", "blank_lines")
FAULTS: Final = (
    *PROBLEM_STATUS, *CONNECTION_FAULTS, *ANSWER_FAULTS, "garbage", *PACE_FAULTS, "none",
)  # fmt: skip

RETRY_DIALECTS: Final = ("seconds", "ms", "http-date", "retry_info", "text", "none")
"""Retry-After in seconds; retry-after-ms; Retry-After as a date; RetryInfo in a Gemini body; only
in the message's text; not at all."""
