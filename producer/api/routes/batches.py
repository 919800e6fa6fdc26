"""Batches: submission, state, steering, results and report."""

from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from producer.api.answers import JsonResponse, list_object
from producer.api.asking import (
    Acting,
    After,
    Context,
    Limit,
    Reading,
    Submitting,
    arrival_of,
)
from producer.api.objects import batch_object, made_object, submitted_object
from producer.api.openapi import errors
from producer.api.shapes.basics import Page, Usd
from producer.api.shapes.batches import BatchShape, MadeBatchShape, ReportShape
from producer.api.shapes.bodies import BATCH_OF_FILE, JSONL_BODY, JSONL_TYPES, body_of
from producer.api.taking_in import take_in_early
from producer.arrival import Arrival
from producer.bootstrap import ProducerContext
from producer.cancellation import find
from producer.early_upload import EarlyUpload
from producer.file_batches import named_project, read_file_batch
from producer.options import (
    DEFAULT_WINDOW,
    MAX_KEY,
    MAX_NAME,
    MAX_URL,
    Options,
    metadata,
    optimise,
    pilot,
    priority,
    start,
    text,
    usd,
)
from producer.reporting.report import report as report_on
from producer.reporting.result_lines import MEDIA_TYPES, Format
from shared.db.engine import Connection
from shared.db.repositories import batches
from shared.db.repositories.batches import BatchRow, Counts
from shared.errors import UsageError
from shared.fault_points import FaultPoint, reach

router = APIRouter(tags=["batches"])

JSON_TYPE: Final = "application/json"
_JSON_BYTES: Final = 64 * 1024
_PAGE_MAX: Final = 10_000
_DEDUPLICATE: Final = (
    "Whether lines that ask the same are asked once and answered alike. By default they are, but "
    "for those that ask for variety (a temperature above 0 or several choices, without a seed)."
)
_START: Final = (
    "`early`: the first lines run while the last ones are still being sent (the default where "
    "the file has more than PROMPTMILL_INTAKE_STARTS_AFTER_LINES lines and need not be judged as "
    "a whole); `complete`: once the last line is in."
)
_OPTIMISE: Final = (
    "quality: max_cost_usd is allotted to all jobs together, so that it buys the most good answers."
)
_PILOT: Final = (
    "Whether a part of the lines is asked of every tier first, to choose the cheapest that does "
    "for each kind of prompt."
)
_LOSS: Final = (
    "The share of good answers that routing may lose against the strongest tier, shown at 95 % by "
    "a pilot, such as 0.02."
)
_OPTIONS: Final = frozenset(
    {
        "project", "max_cost_usd", "strict", "completion_window", "priority", "webhook_url",
        "name", "metadata", "deduplicate", "start", "optimise",
        "pilot", "max_quality_loss",
    }
)  # fmt: skip


_RESULT_LINES: Final[dict[str, Any]] = {
    "content": {
        "application/x-ndjson": {
            "schema": {"type": "string", "description": "A result a line."},
            "example": '{"custom_id": "1", "line": 1, "status": "completed", ...}\n',
        },
        "text/csv": {"schema": {"type": "string"}, "example": "line,custom_id,status,text\r\n"},
    }
}


class Resume(BaseModel):
    """A new cap for a batch, if any."""

    model_config = ConfigDict(extra="forbid")

    max_cost_usd: Usd | None = None
    project: str | None = None


@router.post(
    "/v1/batches",
    response_model=MadeBatchShape,
    responses=errors(402, 409, 415),
    openapi_extra=body_of({JSON_TYPE: BATCH_OF_FILE, **JSONL_BODY}),
)
async def submit(
    *,
    request: Request,
    context: Context,
    acting: Submitting,
    strict: Annotated[bool, Query()] = False,
    max_cost_usd: Annotated[str | None, Query()] = None,
    completion_window: Annotated[str, Query()] = DEFAULT_WINDOW,
    priority_: Annotated[str | None, Query(alias="priority")] = None,
    webhook_url: Annotated[str | None, Query()] = None,
    name: Annotated[str | None, Query()] = None,
    metadata_: Annotated[str | None, Query(alias="metadata")] = None,
    deduplicate: Annotated[bool | None, Query(description=_DEDUPLICATE)] = None,
    start_: Annotated[str | None, Query(alias="start", description=_START)] = None,
    optimise_: Annotated[str | None, Query(alias="optimise", description=_OPTIMISE)] = None,
    pilot_: Annotated[bool | None, Query(alias="pilot", description=_PILOT)] = None,
    max_quality_loss: Annotated[float | None, Query(description=_LOSS)] = None,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Submit a file of prompts: the body is the JSONL file, the options are query parameters.

    Or, as OpenAI's clients do, with a body of `application/json`: a batch of an uploaded file.
    """
    if media_type(request) == JSON_TYPE:
        return await create_from_file(request, context, acting)
    _refuse_unknown(request, _OPTIONS)
    _refuse_other_bodies(request)
    cap = None if max_cost_usd is None else usd(max_cost_usd, "max_cost_usd")
    options = Options(
        project_id=acting.project,
        priority=priority(priority_),
        strict=strict,
        completion_window=completion_window,
        max_cost_nusd=cap,
        name=text(name, "name", MAX_NAME),
        metadata=metadata(_json(metadata_, "metadata")),
        webhook_url=text(webhook_url, "webhook_url", MAX_URL),
        idempotency_key=text(idempotency_key, "Idempotency-Key", MAX_KEY),
        allowance=acting.caller.allowance,
        deduplicate=deduplicate,
        start=start(start_),
        optimise=(spread := optimise(optimise_, cap)),
        pilot=pilot(pilot_, max_quality_loss, spread),
        max_quality_loss=max_quality_loss,
    )
    with (
        await run_in_threadpool(context.spool) as spool,
        context.early_uploads.upload(spool, options, _declared_bytes(request)) as upload,
    ):
        await take_in_early(request, upload)
        answer = await run_in_threadpool(_finished, context, upload)
    return JsonResponse(answer)


@router.get("/v1/batches", response_model=Page[BatchShape])
def list_batches(
    context: Context,
    acting: Reading,
    after: After = None,
    limit: Limit = 20,
    chat: Annotated[bool, Query(description="Also those of chat completions.")] = False,
) -> Response:
    """The project's batches, newest first; those of chat completions only where asked for."""
    return JsonResponse(listed(context, acting.project, after=after, limit=limit, chat=chat))


def listed(
    context: ProducerContext, project: str | None, *, after: str | None, limit: int, chat: bool
) -> dict[str, Any]:
    """A page of a project's batches (None: of all projects'), newest first."""
    with context.database.reading() as connection:
        before = None if after is None else find(connection, after, project).number
        rows = batches.page(connection, project, limit=limit + 1, before=before, awaited=chat)
        found = [batch_object(row, _counts(connection, row)) for row in rows[:limit]]
    return list_object(found, has_more=len(rows) > limit)


@router.get("/v1/batches/{batch_id}", response_model=BatchShape)
def get_batch(batch_id: str, context: Context, acting: Reading) -> Response:
    """A batch as it stands, with what it has used so far."""
    with context.database.reading() as connection:
        row = find(connection, batch_id, acting.seen)
        return JsonResponse(batch_object(row, _counts(connection, row)))


@router.post("/v1/batches/{batch_id}/cancel", response_model=BatchShape, responses=errors(409))
def cancel(batch_id: str, context: Context, acting: Submitting) -> Response:
    """Start nothing more of a batch."""
    return _changed(context, context.steering.cancel(batch_id, acting.seen))


@router.post("/v1/batches/{batch_id}/retry", response_model=BatchShape, responses=errors(409))
def retry(batch_id: str, context: Context, acting: Submitting) -> Response:
    """Run the failed jobs of a completed batch again. They go back into the queue in steps: while
    `promptmill.retry_at_line` is not null, the rest follows by itself.
    """
    return _changed(context, context.steering.retry(batch_id, acting.seen))


@router.post("/v1/batches/{batch_id}/resume", response_model=BatchShape, responses=errors(409))
def resume(
    batch_id: str, context: Context, acting: Submitting, body: Resume | None = None
) -> Response:
    """Raise what a batch may cost; its held jobs go on."""
    given = None if body is None else body.max_cost_usd
    cap = None if given is None else usd(given, "max_cost_usd")
    return _changed(context, context.steering.resume(batch_id, acting.seen, cap))


@router.get(
    "/v1/batches/{batch_id}/results", response_class=Response, responses={200: _RESULT_LINES}
)
def read_results(
    batch_id: str,
    context: Context,
    acting: Reading,
    after: Annotated[int, Query(ge=0, lt=2**24, description="Lines after this one.")] = 0,
    limit: Annotated[int | None, Query(ge=1, le=_PAGE_MAX)] = None,
    form: Annotated[Format, Query(alias="format")] = Format.JSONL,
) -> Response:
    """The results that are there, in input order: all of them, or a page of `limit` lines."""
    with context.database.reading() as connection:
        number = find(connection, batch_id, acting.seen).number
    blocks = context.results.stream(number, form, after=after, limit=limit)
    return StreamingResponse(blocks, media_type=MEDIA_TYPES[form])


@router.get("/v1/batches/{batch_id}/report", response_model=ReportShape)
def report(batch_id: str, context: Context, acting: Reading) -> Response:
    """What a batch cost, and where the money went."""
    with context.database.reading() as connection:
        row = find(connection, batch_id, acting.seen)
    return JsonResponse(report_on(context.database, row))


def _finished(context: ProducerContext, upload: EarlyUpload) -> dict[str, Any]:
    submitted = upload.finish()
    with context.database.reading() as connection:
        return submitted_object(submitted, _counts(connection, submitted.batch))


def _declared_bytes(request: Request) -> int | None:
    """The length of the body, where its client told it."""
    told = request.headers.get("content-length", "")
    return int(told) if told.isdecimal() else None


def _changed(context: ProducerContext, row: BatchRow) -> Response:
    with context.database.reading() as connection:
        return JsonResponse(batch_object(row, _counts(connection, row)))


def _counts(connection: Connection, row: BatchRow) -> Counts:
    return batches.counts(connection, row)


async def create_from_file(request: Request, context: ProducerContext, acting: Acting) -> Response:
    """Make a batch of an uploaded file; the file is validated afterwards."""
    arrival = arrival_of(request, context, acting.caller)
    _refuse_unknown(request, frozenset({"project"}))
    body = await _json_body(request)
    answer = await run_in_threadpool(_made, context, acting, body, arrival)
    request.app.state.background.wake()
    return JsonResponse(answer)


def _made(
    context: ProducerContext, acting: Acting, body: object, arrival: Arrival
) -> dict[str, Any]:
    wanted = read_file_batch(body, context.catalog)
    made = context.file_batches.create(
        wanted,
        context.access.project(acting.caller, named_project(body), acting.seen),
        arrival,
        acting.caller.allowance,
    )
    reach(FaultPoint.AFTER_FILE_BATCH)
    with context.database.reading() as connection:
        return made_object(made, _counts(connection, made.batch))


async def _json_body(request: Request) -> object:
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > _JSON_BYTES:
            raise HTTPException(413, f"the body has more than {_JSON_BYTES} bytes")
    try:
        parsed: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise UsageError("the body is not valid JSON", code="invalid_json") from None
    return parsed


def media_type(request: Request) -> str:
    """A request's media type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _refuse_unknown(request: Request, known: frozenset[str]) -> None:
    """An option that is misspelt must not be left out silently: it may be the cap."""
    for name in request.query_params:
        if name not in known:
            raise UsageError(
                f"there is no such option; known are {', '.join(sorted(known))}",
                code="unknown_parameter",
                param=name[:64],
            )


def _refuse_other_bodies(request: Request) -> None:
    if media_type(request) not in JSONL_TYPES:
        raise HTTPException(
            415,
            f"send the JSONL file as the body, with Content-Type: {JSONL_TYPES[0]}; or "
            f"{JSON_TYPE} with the id of an uploaded file",
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "send the file without Content-Encoding")


def _json(value: str | None, param: str) -> object:
    if value is None:
        return None
    try:
        parsed: object = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise UsageError(f"{param} is not valid JSON", code="invalid_json", param=param) from None
    return parsed
