"""Files: upload, list, look at, read and delete, as OpenAI's SDK does it."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from producer.api.answers import JsonResponse, list_object
from producer.api.asking import Acting, After, Context, Reading, Submitting
from producer.api.multipart import MultipartForm
from producer.api.objects import file_object
from producer.api.openapi import errors
from producer.api.shapes.basics import Page
from producer.api.shapes.bodies import body_of
from producer.api.shapes.files import UPLOAD_FORM, DeletedShape, FileShape
from producer.bootstrap import ProducerContext
from producer.files import FileInfo, Upload, checked_expiry, checked_name, checked_purpose
from shared.errors import UsageError

router = APIRouter(tags=["files"])

_PIECE: Final = 1024 * 1024
_PAGE_MAX: Final = 10_000
_ANCHOR: Final = "expires_after[anchor]"
_SECONDS: Final = "expires_after[seconds]"
_FIELDS: Final = frozenset({"purpose", _ANCHOR, _SECONDS, "project"})
_BYTES: Final[dict[str, Any]] = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
}


@router.post(
    "/v1/files",
    response_model=FileShape,
    openapi_extra=body_of({"multipart/form-data": UPLOAD_FORM}),
)
async def upload(request: Request, context: Context, acting: Submitting) -> Response:
    """Upload a file; it is streamed into the storage."""
    pieces = bytearray()
    form = MultipartForm(request.headers.get("content-type", ""), pieces.extend)
    taken = context.files.upload()
    try:
        async for piece in request.stream():
            form.feed(piece)
            _check_early(form)
            if len(pieces) >= _PIECE:
                await run_in_threadpool(taken.write, bytes(pieces))
                pieces.clear()
        form.end()
        if pieces:
            await run_in_threadpool(taken.write, bytes(pieces))
        file = await run_in_threadpool(_kept, context, acting, taken, form)
    finally:
        await run_in_threadpool(taken.close)
    return JsonResponse(file_object(file))


@router.get("/v1/files", response_model=Page[FileShape])
def list_files(
    *,
    context: Context,
    acting: Reading,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=_PAGE_MAX)] = _PAGE_MAX,
    order: Annotated[Literal["asc", "desc"], Query()] = "desc",
    purpose: Annotated[str | None, Query()] = None,
) -> Response:
    """The project's files, newest first unless asked otherwise."""
    found, has_more = context.files.page(
        acting.project, limit=limit, after=after, newest_first=order == "desc", purpose=purpose
    )
    return JsonResponse(list_object([file_object(file) for file in found], has_more=has_more))


@router.get("/v1/files/{file_id}", response_model=FileShape)
def get_file(file_id: str, context: Context, acting: Reading) -> Response:
    """A file's object; `bytes` of a running batch's files are counted when the batch has ended."""
    return JsonResponse(file_object(context.files.info(file_id, acting.seen)))


@router.get("/v1/files/{file_id}/content", response_class=Response, responses={200: _BYTES})
def read_content(file_id: str, context: Context, acting: Reading) -> Response:
    """A file's bytes; of a running batch's files the lines that are there."""
    _, blocks = context.files.content(file_id, acting.seen)
    return StreamingResponse(blocks, media_type="application/octet-stream")


@router.delete("/v1/files/{file_id}", response_model=DeletedShape, responses=errors(409))
def delete_file(file_id: str, context: Context, acting: Submitting) -> Response:
    """Delete a file."""
    context.files.delete(file_id, acting.seen)
    return JsonResponse({"id": file_id, "object": "file", "deleted": True})


def _check_early(form: MultipartForm) -> None:
    """Refuse what is known to be wrong before the rest of a large file has come."""
    for name in form.fields:
        if name not in _FIELDS:
            raise UsageError(
                f"Unknown parameter: '{name[:64]}'.", code="unknown_parameter", param=name[:64]
            )
    if "purpose" in form.fields:
        checked_purpose(form.fields["purpose"])
        if form.filename is not None:
            checked_name(form.filename, form.fields["purpose"])


def _kept(context: ProducerContext, acting: Acting, taken: Upload, form: MultipartForm) -> FileInfo:
    fields = form.fields
    project = context.access.project(acting.caller, fields.get("project"), acting.seen)
    seconds = fields.get(_SECONDS)
    whole = int(seconds) if seconds is not None and seconds.isdecimal() else seconds
    expiry_s = checked_expiry(fields.get(_ANCHOR), whole, "expires_after")
    return taken.keep(project, fields.get("purpose"), form.filename, expiry_s)
