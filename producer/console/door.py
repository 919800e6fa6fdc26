"""The door of the console: who may pass, and the pages behind it, which are loaded at the first
knock, or before it once the API has nothing else to do.

NiceGUI takes a second and 50 MB: the API's start waits for neither. Nothing
passes without a session but the login. Cookies travel with requests that other sites cause, so
whatever changes something, and every websocket, must come from a page of this very host.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.bootstrap import ProducerContext
from producer.console.desk import Desk
from producer.console.downloads import take_costs, take_results
from producer.console.login import LOGIN, Login
from producer.console.session import Sessions
from producer.console.uploading import take_upload
from producer.local.admin_key import admin_key

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_POLICY_VIOLATION: Final = 1008
_SETTLING_S: Final = 2.0
_IDLE_S: Final = 0.5
_HEADERS: Final = {
    # Vue compiles templates in the browser, hence unsafe-eval; nothing may come from elsewhere.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
        "connect-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class Wakeable(Protocol):
    """What reads uploaded files in the background."""

    def wake(self) -> None:
        """There is a file to read."""


class Console:
    """The ASGI app to mount at /console; `aclose` when the server ends."""

    def __init__(self, context: ProducerContext, background: Wakeable) -> None:
        self._pages = _Pages()
        sessions = Sessions(admin_key(context.settings))
        login = Login(context.access, sessions, self._pages.warm)
        routes = [
            Route("/login", login.show, methods=["GET"]),
            Route("/login", login.enter, methods=["POST"]),
            Route("/logout", login.leave, methods=["POST"]),
            Route("/upload", take_upload, methods=["POST"]),
            Route("/download/batches/{batch_id}/{form}", take_results),
            Route("/download/costs", take_costs),
            Mount("/", self._pages),
        ]
        self._app = _Guard(Starlette(routes=routes), context, sessions, background)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one websocket."""
        await self._app(scope, receive, send)

    def load_when_idle(self, answered: Callable[[], int]) -> None:
        """Load the pages before anybody knocks, at a moment when the API answers nothing;
        `answered` counts its answers.
        """
        self._pages.load_when_idle(answered)

    async def aclose(self) -> None:
        """End what the pages keep running, where they were ever loaded."""
        await self._pages.aclose()


class _Guard:
    """Lets in who has a session, with a desk to work at in the request's state."""

    def __init__(
        self, app: ASGIApp, context: ProducerContext, sessions: Sessions, background: Wakeable
    ) -> None:
        self._app = app
        self._context = context
        self._sessions = sessions
        self._background = background

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_foreign(scope):
            await _refuse(scope, receive, send, "this comes from another site's page")
            return
        is_login = scope["path"].rstrip("/") == LOGIN
        reader = None if is_login else self._sessions.reader(HTTPConnection(scope))
        if reader is not None:
            desk = Desk(self._context, reader, self._background.wake)
            scope.setdefault("state", {})["desk"] = desk
            if not await run_in_threadpool(desk.is_open):
                reader = None
        if reader is None and not is_login:
            await _to_login(scope, receive, send)
            return
        await self._app(scope, receive, _with_headers(send))


class _Pages:
    """The NiceGUI app, imported and started when it is first asked."""

    def __init__(self) -> None:
        self._app: FastAPI | None = None
        self._loading = asyncio.Lock()
        self._running = AsyncExitStack()
        self._warming: asyncio.Task[FastAPI] | None = None
        self._waiting: asyncio.Task[None] | None = None

    def warm(self) -> None:
        """Load them while a key is being typed."""
        if self._app is None and self._warming is None:
            self._warming = asyncio.create_task(self._load())

    def load_when_idle(self, answered: Callable[[], int]) -> None:
        """Load them in the first half second in which nothing is answered."""
        self._waiting = asyncio.create_task(self._when_idle(answered))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app or await self._load()
        await app(scope, receive, send)

    async def _when_idle(self, answered: Callable[[], int]) -> None:
        await asyncio.sleep(_SETTLING_S)
        before = -1
        while (now := answered()) != before:
            before = now
            await asyncio.sleep(_IDLE_S)
        self.warm()

    async def aclose(self) -> None:
        """End what runs."""
        if self._waiting is not None:
            self._waiting.cancel()
        if self._warming is not None:
            await asyncio.wait((self._warming,))
        await self._running.aclose()

    async def _load(self) -> FastAPI:
        async with self._loading:
            if self._app is None:
                make = await run_in_threadpool(_import)
                app = make()
                await self._running.enter_async_context(app.router.lifespan_context(app))
                self._app = app
        return self._app


def _import() -> Callable[[], FastAPI]:
    from producer.console.app import make_pages  # here: see above

    return make_pages


def _is_foreign(scope: Scope) -> bool:
    """Whether another site's page caused it; clients that are no browser tell no origin."""
    if scope["type"] == "http" and scope["method"] in _SAFE:
        return False
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


async def _to_login(scope: Scope, receive: Receive, send: Send) -> None:
    wants_page = scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", "")
    if not wants_page or scope["method"] != "GET":
        await _refuse(scope, receive, send, "log in first", 401)
        return
    asked = scope["path"]
    if scope["query_string"]:
        asked += "?" + scope["query_string"].decode("latin-1")
    await RedirectResponse(f"{LOGIN}?next={quote(asked)}", 303)(scope, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send, why: str, status: int = 403) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": why})
        return
    await PlainTextResponse(why, status)(scope, receive, send)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return sending
