"""The app: its routes, its errors, and what happens before the first request and after the last."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI
from fastapi_swagger import patch_fastapi
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from producer.accounts.access import ensure_default_project
from producer.api import failures
from producer.api.background import Background
from producer.api.figures import ApiFigures
from producer.api.frame import Frame
from producer.api.listening import Ear
from producer.api.openapi import ALWAYS, describe
from producer.api.routes import (
    analytics,
    batches,
    cache,
    catalog,
    chat,
    files,
    health,
    jobs,
    outcomes,
    projects,
    routing,
    templates,
    webhooks,
)
from producer.bootstrap import ProducerContext
from producer.console.door import Console
from producer.console.session import ROOT
from shared.errors import UnavailableError
from shared.redis_client import connect_async
from shared.tallies import Posting, keep_posted

log = structlog.get_logger(__name__)

_ROOMS = (
    chat,
    batches,
    files,
    jobs,
    outcomes,
    analytics,
    projects,
    routing,
    cache,
    templates,
    catalog,
    webhooks,
)
_JSON_BODY_BYTES = 64 * 1024  # beside the longest line, which /v1/route takes


def _is_not_traced(scope: Scope) -> bool:
    """Only what may begin or change work is told: what is looked at would drown it, and a search
    may stand in its address.
    """
    return scope.get("method") != "POST" or not scope["path"].startswith("/v1/")


def create_app(context: ProducerContext, *, console_ahead: bool = False) -> FastAPI:
    """The API over a process's context; closes it when the server ends. console_ahead: load the
    console's pages before anybody asks for them.
    """
    figures = ApiFigures()

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await run_in_threadpool(ensure_default_project, context.database, context.clock())
        except UnavailableError as error:
            # Not migrated or not up yet: /health/ready says so until it is.
            log.warning("the database is not ready", reason=error.message)
        app.state.background.start()
        app.state.ear = Ear(connect_async(context.settings))
        posting = Posting(context.settings.metrics_dir, figures.tallies)
        posted = asyncio.create_task(keep_posted(posting, figures.lag))
        if console_ahead:
            console.load_when_idle(lambda: figures.total)
        yield
        posted.cancel()
        posting.close()
        await console.aclose()
        await app.state.ear.aclose()
        await run_in_threadpool(app.state.background.stop)
        await run_in_threadpool(context.close)

    app = FastAPI(
        title="Promptmill",
        description="Runs files of prompts through language models: cheaply, within budget.",
        version="0.1.0",
        lifespan=life,
        redoc_url=None,
        docs_url=None,
        swagger_ui_oauth2_redirect_url=None,
        telemetry={
            "auto_configure": False,
            "tracing": context.tracing is not None,
            "tracer_provider": None if context.tracing is None else context.tracing.provider,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "exclude": _is_not_traced,
        },
    )
    # The documentation page from the package's own files: FastAPI's would load them from a CDN.
    patch_fastapi(app)
    app.state.context = context
    app.state.at_head = False
    app.state.background = Background(context)
    for room in _ROOMS:
        app.include_router(room.router, responses=ALWAYS)
    app.include_router(health.router)
    console = Console(context, app.state.background)
    app.mount(ROOT, console)
    describe(app)
    failures.install(app)
    app.add_middleware(
        Frame,
        max_body_bytes=context.settings.max_line_bytes + _JSON_BODY_BYTES,
        figures=figures,
    )
    return app
