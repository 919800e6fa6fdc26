"""Errors mapped once: whatever a verb raises becomes `{"error": {message, type, param, code}}`.

No traceback, statement, key or prompt gets into an answer; what we did not foresee is logged here
and answered as a plain 500.
"""

from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from producer.accounts.access import Rate, TooManyRequestsError
from producer.accounts.key_limits import TooManyTokensError
from producer.api.answers import JsonResponse, error_response
from producer.api.objects import rejected_lines
from producer.spool import TooLargeError
from producer.submitted import BadLinesError
from shared.errors import (
    AccessError,
    BudgetRefusedError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PromptmillError,
    UnavailableError,
    UsageError,
)

log = structlog.get_logger(__name__)

_STATUS: Final[tuple[tuple[type[PromptmillError], int], ...]] = (
    (TooManyRequestsError, 429),
    (TooManyTokensError, 429),
    (BudgetRefusedError, 402),
    (UnavailableError, 503),
    (TooLargeError, 413),
    (NotFoundError, 404),
    (ConflictError, 409),
    (ConfigurationError, 500),
    (UsageError, 400),
)
_HTTP_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
    415: "unsupported_media_type",
}
_METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_NOT_AGAIN: Final = {"x-should-retry": "false"}
"""OpenAI's SDK would repeat a 409 twice; these answers stay the same until somebody acts."""


def install(app: FastAPI) -> None:
    """Give the app its handlers."""
    app.add_exception_handler(PromptmillError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


async def _ours(_request: Request, error: Exception) -> JsonResponse:
    if not isinstance(error, PromptmillError):
        raise error
    headers: dict[str, str] = {}
    more: dict[str, Any] = {}
    if isinstance(error, AccessError):
        status = 403 if error.known else 401
        headers = {} if error.known else {"www-authenticate": "Bearer"}
    else:
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, ConflictError | BudgetRefusedError):
        headers = _NOT_AGAIN
    if isinstance(error, TooManyRequestsError):
        rate = Rate(error.limit, 0, error.retry_after_s)
        headers = {"retry-after": str(error.retry_after_s), **rate.headers()}
    if isinstance(error, TooManyTokensError):
        headers = {
            "retry-after": str(error.retry_after_s),
            "x-ratelimit-limit-tokens": str(error.limit),
            "x-ratelimit-remaining-tokens": str(error.remaining),
            "x-ratelimit-reset-tokens": f"{error.retry_after_s}s",
            **_NOT_AGAIN,
        }
    if isinstance(error, BadLinesError):
        more = {
            "rejected": rejected_lines(error.rejected),
            "rejected_count": error.rejected_count,
        }
    if isinstance(error, UnavailableError):
        headers = {"retry-after": "1"}
        log.warning("request failed", code=error.code, reason=error.message)
    return error_response(
        status, error.message, code=error.code, param=error.param, headers=headers, more=more
    )


async def _invalid(_request: Request, error: Exception) -> JsonResponse:
    """What FastAPI found wrong with parameters or body; the values themselves are not repeated."""
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    place = [str(part) for part in first.get("loc", ())[1:]]
    param = ".".join(place) or None
    kind = str(first.get("type", ""))
    if kind == "json_invalid":
        return error_response(400, "the body is not valid JSON", code="invalid_json")
    code = {
        "missing": "missing_required_parameter",
        "extra_forbidden": "unknown_parameter",
    }.get(kind, "invalid_type" if kind.endswith("_type") else "invalid_value")
    problem = str(first.get("msg", "the request is not valid"))
    message = f"{param}: {problem}" if param else problem
    return error_response(400, message, code=code, param=param)


async def _http(request: Request, error: Exception) -> JsonResponse:
    if not isinstance(error, HTTPException):
        raise error
    code = _HTTP_CODES.get(error.status_code, "error")
    message = str(error.detail)
    if error.status_code == 404:  # noqa: PLR2004  (HTTP's own number)
        message = "there is nothing at this path"
    headers = dict(error.headers or {})
    if error.status_code == 405:  # noqa: PLR2004
        # The router names the methods of the first endpoint at the path; there may be others.
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return error_response(error.status_code, message, code=code, headers=headers)


def _methods(request: Request) -> set[str]:
    return {
        method
        for method in _METHODS
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    }
