"""Files to be kept: a batch's results and the sums of costs, as the API gives them."""

from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from producer.api.answers import error_response
from producer.console.desk import Desk
from producer.reporting.analytics import Period
from producer.reporting.result_lines import MEDIA_TYPES, Format
from producer.reporting.spreadsheet import table
from shared.errors import NotFoundError, PromptmillError


async def take_results(request: Request) -> Response:
    """All lines that have ended, written while they are read."""
    desk: Desk = request.state.desk
    batch_id = request.path_params["batch_id"]
    try:
        form = _form(request.path_params["form"])
        blocks = await run_in_threadpool(desk.results, batch_id, form)
    except PromptmillError as error:
        return error_response(404, error.message, code=error.code, param=error.param)
    ending = "csv" if form is Format.CSV else "jsonl"
    headers = _named(f"{batch_id}.{ending}")
    return StreamingResponse(blocks, media_type=MEDIA_TYPES[form], headers=headers)


async def take_costs(request: Request) -> Response:
    """The rows of the page of costs, its day beside each, for a spreadsheet."""
    desk: Desk = request.state.desk
    query = request.query_params
    by = query.get("by", "model")
    try:
        period = Period.read(query.get("since"), query.get("until"), desk.context.clock())
        rows = await run_in_threadpool(desk.usage, period, ("day", by))
    except PromptmillError as error:
        return error_response(400, error.message, code=error.code, param=error.param)
    headers = _named(f"costs-{by}-{period.first}-{period.last}.csv")
    return Response(table(rows), media_type="text/csv; charset=utf-8", headers=headers)


def _form(given: str) -> Format:
    try:
        return Format(given)
    except ValueError:
        raise NotFoundError("results come as jsonl, csv or openai") from None


def _named(name: str) -> dict[str, str]:
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
