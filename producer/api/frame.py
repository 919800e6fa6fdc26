"""Around every request: its id, the bounds on its body, and the last net under it.

Plain ASGI, because what wraps responses as objects would buffer streams.
"""

import asyncio
import re
import secrets
import time
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.api.answers import error_response
from producer.api.figures import ApiFigures
from producer.intake.json_line import MAX_DEPTH, check_depth
from producer.intake.refusal import Refusal

log = structlog.get_logger(__name__)

RATE_HEADERS: Final = "rate_headers"
"""Where a request's state keeps the headers that tell of its key's requests per minute."""

_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
UPLOADS: Final = frozenset({"/v1/batches", "/v1/files", "/v1/plan", "/console/upload"})
"""Paths whose bodies are streamed to where they are kept, which has its own bound."""

PIECE_WITHIN_S = 60.0
"""How long the next piece of a body may take: a client that is slower is given up."""

_OPENAI_VERSION: Final = "2020-10-01"
"""What OpenAI answers in this header; it has never been another."""
_TOO_LARGE: Final = (413, "the body is too large for this path", "request_too_large")
_TOO_SLOW: Final = (408, "the body came too slowly", "request_timeout")
_TOO_DEEP: Final = (400, f"nest at most {MAX_DEPTH} levels deep", "nested_too_deeply")


class Frame:
    """Gives each request an id (the client's own where it sent a usable one) that is bound to its
    logs and answered in `x-request-id`; refuses bodies beyond `max_body_bytes`.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, figures: ApiFigures) -> None:
        self._app = app
        self._figures = figures
        self._max_body = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            exchange = _Exchange(scope, receive, send, request_id, self._max_body, self._figures)
            await exchange.run(self._app)


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request_id: str,
        max_body: int,
        figures: ApiFigures,
    ) -> None:
        self._figures = figures
        self._scope = scope
        self._receive = receive
        self._send = send
        self._id = request_id
        bounded = scope["path"].rstrip("/") not in UPLOADS or scope["method"] != "POST"
        self._left = max_body if bounded else None
        self._pieces: list[bytes] = []
        self._body_is_here = False
        self._refusal: tuple[int, str, str] | None = None
        self._started = False
        self._began = time.monotonic()

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._bounded_receive, self._marked_send)
        except ClientDisconnect:
            if self._refusal is None:
                return  # nobody is left to answer
        except Exception:
            if self._refusal is None:
                log.exception("a request failed", path=self._scope["path"])
            if self._started:
                raise  # too late for another answer: the connection breaks off
            if self._refusal is None:
                await self._answer(500, "something went wrong here; it was logged", "internal")
        if self._refusal is not None and not self._started:
            await self._answer(*self._refusal)

    async def _bounded_receive(self) -> Message:
        try:
            # Once the body is here, what is waited for is the client's going.
            async with asyncio.timeout(None if self._body_is_here else PIECE_WITHIN_S):
                message = await self._receive()
        except TimeoutError:
            self._refusal = _TOO_SLOW
        else:
            if message["type"] != "http.request" or self._takes(message):
                return message
        return {"type": "http.disconnect"}

    def _takes(self, message: Message) -> bool:
        """Whether the body is within its bounds with this piece; they are not for uploads."""
        self._body_is_here = not message.get("more_body", False)
        if self._left is None:
            return True
        piece = message.get("body", b"")
        self._left -= len(piece)
        self._pieces.append(piece)
        if self._left < 0:
            self._refusal = _TOO_LARGE
        elif self._body_is_here and _is_too_deep(b"".join(self._pieces)):
            self._refusal = _TOO_DEEP
        if self._body_is_here:
            self._pieces.clear()
        return self._refusal is None

    async def _marked_send(self, message: Message) -> None:
        if self._refusal is not None and not self._started:
            return  # what the app makes of the cut body is not the answer
        if message["type"] == "http.response.start":
            self._started = True
            took_s = time.monotonic() - self._began
            self._figures.answered(self._scope, message["status"], took_s)
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._id
            headers["openai-processing-ms"] = str(round(took_s * 1000))
            headers["openai-version"] = _OPENAI_VERSION
            headers.update(self._scope.get("state", {}).get(RATE_HEADERS, {}))
        await self._send(message)

    async def _answer(self, status: int, message: str, code: str) -> None:
        headers = {"x-request-id": self._id}
        if not self._body_is_here:
            headers["connection"] = "close"  # whatever else of it may come is not read
        response = error_response(status, message, code=code, headers=headers)
        self._figures.answered(self._scope, status, time.monotonic() - self._began)
        self._started = True
        await response(self._scope, self._receive, self._send)


def _is_too_deep(body: bytes) -> bool:
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    try:
        check_depth(body)
    except Refusal:
        return True
    return False
