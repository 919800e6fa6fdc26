"""What the API answers: JSON by orjson, and OpenAI's error and list objects."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.responses import Response

MEDIA_TYPE: Final = "application/json"


class JsonResponse(Response):
    """A JSON body; fragments of stored JSON are written as they are."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        """To JSON."""
        return orjson.dumps(content)


def error_response(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> JsonResponse:
    """An error in the one shape that all errors have; `more` stands beside `error`."""
    error = {"message": message, "type": error_type(status), "param": param, "code": code}
    return JsonResponse({"error": error, **(more or {})}, status, headers=dict(headers or {}))


def error_type(status: int) -> str:
    """OpenAI's word for the kind of an error."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "server_error"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "requests"
    if status == HTTPStatus.PAYMENT_REQUIRED:
        return "insufficient_quota"
    return "invalid_request_error"


def list_object(items: Sequence[Mapping[str, Any]], *, has_more: bool = False) -> dict[str, Any]:
    """A page of things with ids."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0].get("id") if items else None,
        "last_id": items[-1].get("id") if items else None,
        "has_more": has_more,
    }
