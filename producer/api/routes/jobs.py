"""Jobs that ran, and prompts that might: the story of one, routes and plans of others."""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Query, Request
from pydantic import WithJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from producer.api.answers import JsonResponse
from producer.api.asking import Context, Reading
from producer.api.shapes.bodies import JSONL_BODY, LINE, body_of
from producer.api.shapes.jobs import DecisionShape, JobShape, PlanShape
from producer.api.taking_in import take_in
from producer.bootstrap import ProducerContext
from producer.intake import read_lines
from producer.options import optimise, usd
from producer.spool import Spool
from shared.errors import UsageError

router = APIRouter(tags=["jobs"])

InputLine = Annotated[dict[str, Any], Body(), WithJsonSchema(LINE)]


@router.get("/v1/jobs/{job_id}", response_model=JobShape)
def get_job(job_id: str, context: Context, acting: Reading) -> Response:
    """A job's whole story."""
    return JsonResponse(context.results.job(job_id, acting.seen))


@router.post("/v1/route", response_model=DecisionShape)
def route(
    context: Context, acting: Reading, line: Annotated[dict[str, Any], Body(), WithJsonSchema(LINE)]
) -> Response:
    """Where an input line would go, and why; nothing is sent."""
    (decision,) = context.forecaster.preview(acting.project).routes(
        read_lines(
            [_line_of(line)],
            context.intake_limits,
            context.catalog.models,
            context.templates.of(acting.project),
        )
    )
    if "model" not in decision:
        error: Mapping[str, Any] = decision["error"]
        raise UsageError(error["message"], code=error["code"], param=error["field"])
    return JsonResponse(decision)


def _line_of(line: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(line)
    except TypeError:  # what JSON may hold and no text can: half a surrogate pair, endless numbers
        raise UsageError(
            "the line holds half a character or a number beyond 64 bits", code="invalid_value"
        ) from None


@router.post("/v1/plan", response_model=PlanShape, openapi_extra=body_of(JSONL_BODY))
async def plan(
    request: Request,
    context: Context,
    acting: Reading,
    max_cost_usd: Annotated[str | None, Query()] = None,
    optimise_: Annotated[str | None, Query(alias="optimise")] = None,
) -> Response:
    """What a file might cost (an estimate): the body is the JSONL file; nothing is kept. With
    `optimise=quality` and `max_cost_usd`: how that budget would be spread over it.
    """
    cap = None if max_cost_usd is None else usd(max_cost_usd, "max_cost_usd")
    allot = None if optimise(optimise_, cap) is None else cap
    with await run_in_threadpool(context.spool) as spool:
        await take_in(request, spool)
        return JsonResponse(await run_in_threadpool(planned, context, spool, acting.project, allot))


def planned(
    context: ProducerContext, spool: Spool, project_id: str, allot_nusd: int | None = None
) -> dict[str, Any]:
    """The plan of a file that was taken in; allot_nusd: of a budget that is allotted to it."""
    spool.rewind()
    lines = read_lines(
        spool.file,
        context.intake_limits,
        context.catalog.models,
        context.templates.of(project_id),
    )
    return context.forecaster.preview(project_id).plan(lines, allot_nusd)
