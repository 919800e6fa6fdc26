"""Taking a file in from the console's page: streamed into the storage as POST /v1/files does."""

from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from producer.accounts.access import Right
from producer.api.answers import JsonResponse, error_response
from producer.api.objects import file_object
from producer.console.desk import Desk
from producer.files import BATCH_PURPOSE, Upload, checked_name
from shared.errors import PromptmillError

_PIECE: Final = 1024 * 1024


async def take_upload(request: Request) -> Response:
    """The body is the file, `name` its name; answers with the file's object."""
    desk: Desk = request.state.desk
    name = request.query_params.get("name", "")
    try:
        acting = await run_in_threadpool(desk.acting, Right.SUBMIT)
        checked_name(name, BATCH_PURPOSE)
        taken = desk.context.files.upload()
        try:
            await _stream(request, taken)
            file = await run_in_threadpool(taken.keep, acting.project, BATCH_PURPOSE, name, None)
        finally:
            await run_in_threadpool(taken.close)
    except PromptmillError as error:
        return error_response(400, error.message, code=error.code, param=error.param)
    return JsonResponse(file_object(file))


async def _stream(request: Request, taken: Upload) -> None:
    waiting = bytearray()
    async for piece in request.stream():
        waiting += piece
        if len(waiting) >= _PIECE:
            await run_in_threadpool(taken.write, bytes(waiting))
            waiting.clear()
    if waiting:
        await run_in_threadpool(taken.write, bytes(waiting))
