"""Whether the process lives, whether it can do its work, and figures for whoever watches.

No key is asked for but for the figures: they tell projects and what they spend.
"""

from typing import Any, Final

import redis
import structlog
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

import migrations
from producer.api.answers import JsonResponse
from producer.api.asking import Asking, Context
from producer.api.openapi import ALWAYS, errors
from producer.api.shapes.catalog import LiveShape, ReadyShape
from producer.api.shapes.overview import OverviewShape
from producer.bootstrap import ProducerContext
from shared.errors import UnavailableError
from shared.redis_client import mapped_redis_errors

_FIGURES: Final[dict[str, Any]] = {
    "content": {"text/plain": {"schema": {"type": "string"}, "example": "# TYPE ..."}}
}

router = APIRouter(tags=["health"])

log = structlog.get_logger(__name__)

# Addresses and paths are for the log: this answer is for everybody.
_SILENT = "does not answer"


@router.get("/health/live", response_model=LiveShape)
def live() -> Response:
    """The process answers."""
    return JsonResponse({"status": "ok"})


@router.get(
    "/health/ready",
    response_model=ReadyShape,
    responses={503: {"model": ReadyShape, "description": "Something is missing."}},
)
def ready(request: Request, context: Context) -> Response:
    """Database, its schema and Redis answer: 200; otherwise 503 and what is missing."""
    checks = {"database": _database(request, context), "redis": _redis(context.redis)}
    is_ready = all(word == "ok" for word in checks.values())
    body = {"status": "ok" if is_ready else "not ready", "checks": checks}
    return JsonResponse(body, 200 if is_ready else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: _FIGURES, **errors(401, 403, 429, 503)},
)
def metrics(context: Context, caller: Asking) -> Response:
    """The mill's state for Prometheus, to the admin key alone."""
    caller.require_admin()
    return Response(context.gauges.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/overview", response_model=OverviewShape, responses=ALWAYS)
def overview(context: Context, caller: Asking) -> Response:
    """The whole mill at this moment, to the admin key alone."""
    caller.require_admin()
    return JsonResponse(context.overview.read())


def _database(request: Request, context: ProducerContext) -> str:
    known = request.app.state
    try:
        context.database.ping()
        # Asked until it is so once: tables do not go back while a process runs.
        known.at_head = known.at_head or migrations.at_head(context.settings.resolved_database_url)
        if known.at_head:
            return "ok"
    except UnavailableError as error:
        log.warning("not ready", reason=error.message)
        return _SILENT
    return "the tables are not those of this version: run `promptmill migrate`"


def _redis(client: "redis.Redis") -> str:
    try:
        with mapped_redis_errors():
            client.ping()
    except UnavailableError as error:
        log.warning("not ready", reason=error.message)
        return _SILENT
    return "ok"
