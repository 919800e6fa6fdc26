"""Around every request: its id, the bound on its body, and the last net under it.

Plain ASGI, because what wraps responses as objects would buffer streams.
"""

import re
import secrets
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.api.answers import error_response

log = structlog.get_logger(__name__)

_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
UPLOADS: Final = frozenset({"/v1/batches", "/v1/files", "/v1/plan"})
"""Paths whose bodies are streamed to where they are kept, which has its own bound."""


class Frame:
    """Gives each request an id (the client's own where it sent a usable one) that is bound to its
    logs and answered in `x-request-id`; refuses bodies beyond `max_body_bytes`.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await _Exchange(scope, receive, send, request_id, self._max_body).run(self._app)


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, max_body: int
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._id = request_id
        bounded = scope["path"].rstrip("/") not in UPLOADS or scope["method"] != "POST"
        self._left = max_body if bounded else None
        self._too_large = False
        self._started = False

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._bounded_receive, self._marked_send)
        except ClientDisconnect:
            if not self._too_large:
                return  # nobody is left to answer
        except Exception:
            if not self._too_large:
                log.exception("a request failed", path=self._scope["path"])
            if self._started:
                raise  # too late for another answer: the connection breaks off
            if not self._too_large:
                await self._answer(500, "something went wrong here; it was logged", "internal")
        if self._too_large and not self._started:
            await self._answer(413, "the body is too large for this path", "request_too_large")

    async def _bounded_receive(self) -> Message:
        message = await self._receive()
        if self._left is not None and message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self._too_large = True
                return {"type": "http.disconnect"}
        return message

    async def _marked_send(self, message: Message) -> None:
        if self._too_large and not self._started:
            return  # what the app makes of the cut body is not the answer
        if message["type"] == "http.response.start":
            self._started = True
            MutableHeaders(scope=message)["x-request-id"] = self._id
        await self._send(message)

    async def _answer(self, status: int, message: str, code: str) -> None:
        response = error_response(status, message, code=code, headers={"x-request-id": self._id})
        self._started = True
        await response(self._scope, self._receive, self._send)
