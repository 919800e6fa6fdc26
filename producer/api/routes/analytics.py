"""Looking back: usage and costs by groups, single requests, everything in a few figures."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from producer.api.answers import JsonResponse, list_object
from producer.api.asking import After, Context, Limit, Reading
from producer.api.shapes.analytics import (
    HintsShape,
    RequestShape,
    SavingsShape,
    StatsShape,
    UsageShape,
)
from producer.api.shapes.basics import Page
from producer.reporting.analytics import Analytics, Period
from producer.reporting.history import LONGEST_SEARCH, History, Wanted
from producer.reporting.spreadsheet import table
from shared.domain.inference import TaskType
from shared.domain.job import TERMINAL

router = APIRouter(tags=["analytics"])

From = Annotated[
    str | None,
    Query(alias="from", description="The first day, YYYY-MM-DD in UTC; 30 days by default."),
]
To = Annotated[str | None, Query(description="The last day; today by default.")]
GroupBy = Annotated[
    str,
    Query(description="Of day, model, provider, project, purpose, task_type; several by commas."),
]
SavingsBy = Annotated[
    str, Query(description="Of day, project, task_type, model, tier; several by commas.")
]
_AS_CSV = {"content": {"text/csv": {"schema": {"type": "string"}, "example": "day,attempts\r\n"}}}


class UsageFormat(StrEnum):
    """How groups are written."""

    JSON = "json"
    CSV = "csv"


Format = Annotated[UsageFormat, Query(alias="format")]
Ended = StrEnum("Ended", {status.name: status.value for status in sorted(TERMINAL)})  # type: ignore[misc]


@router.get("/v1/analytics/usage", response_model=UsageShape, responses={200: _AS_CSV})
def usage(
    context: Context,
    acting: Reading,
    from_: From = None,
    to: To = None,
    group_by: GroupBy = "day",
    format_: Format = UsageFormat.JSON,
) -> Response:
    """What was used and what it cost, a group an object.

    The admin key sees all projects where it names none.
    """
    period = Period.read(from_, to, context.clock())
    rows = Analytics(context.database).usage(acting.seen, period, _groups(group_by))
    if format_ is UsageFormat.CSV:
        return Response(table(rows), media_type="text/csv; charset=utf-8")
    return _of_period("usage", period, rows)


@router.get("/v1/analytics/models", response_model=UsageShape)
def models(context: Context, acting: Reading, from_: From = None, to: To = None) -> Response:
    """Usage and costs by model."""
    period = Period.read(from_, to, context.clock())
    rows = Analytics(context.database).usage(acting.seen, period, ("model", "provider"))
    return _of_period("usage", period, rows)


@router.get("/v1/analytics/savings", response_model=SavingsShape, responses={200: _AS_CSV})
def savings(
    context: Context,
    acting: Reading,
    from_: From = None,
    to: To = None,
    group_by: SavingsBy = "day",
    format_: Format = UsageFormat.JSON,
) -> Response:
    """What jobs cost, and what the strongest model alone would have cost: of batches that ended, by
    the day on which the job did.
    """
    period = Period.read(from_, to, context.clock())
    rows = Analytics(context.database).savings(acting.seen, period, _groups(group_by))
    if format_ is UsageFormat.CSV:
        return Response(table(rows), media_type="text/csv; charset=utf-8")
    return _of_period("savings", period, rows)


@router.get("/v1/analytics/hints", response_model=HintsShape)
def hints(context: Context, acting: Reading, from_: From = None, to: To = None) -> Response:
    """What could be paid less for, told from a period's jobs, the largest sum first."""
    period = Period.read(from_, to, context.clock())
    return _of_period("hints", period, Analytics(context.database).hints(acting.seen, period))


def _groups(by: str) -> list[str]:
    """What to group by, each once."""
    return list(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))


def _of_period(name: str, period: Period, rows: list[dict[str, Any]]) -> Response:
    return JsonResponse({"object": name, "from": period.first, "to": period.last, "data": rows})


def _wanted(
    *,
    status: Ended | None = None,
    model: str | None = None,
    provider: str | None = None,
    tier: str | None = None,
    task_type: TaskType | None = None,
    cached: bool | None = None,
    search: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=LONGEST_SEARCH,
            description="What stands in the prompt or the custom_id, in capitals or not.",
        ),
    ] = None,
    batch_id: Annotated[str | None, Query(description="Of this batch only.")] = None,
    to: Annotated[
        str | None, Query(description="Of batches made until this day, YYYY-MM-DD in UTC.")
    ] = None,
    after: After = None,
) -> Wanted:
    given = {
        "status": status,
        "model": model,
        "provider": provider,
        "tier": tier,
        "task_type": task_type,
        "cached": cached,
    }
    values = {name: value for name, value in given.items() if value is not None}
    return Wanted(values, search, batch_id, to, after)


@router.get("/v1/analytics/requests", response_model=Page[RequestShape])
def requests(
    context: Context,
    acting: Reading,
    wanted: Annotated[Wanted, Depends(_wanted)],
    limit: Limit = 100,
) -> Response:
    """Requests that ended, newest first. A page looks back for half a second or so: where a filter
    or a search finds little, it ends early, and `last_id` says after what the next one begins.
    """
    found = History(context.database).page(acting.seen, wanted, limit)
    page = list_object(found.requests, has_more=found.after is not None)
    return JsonResponse({**page, "last_id": found.after or page["last_id"]})


@router.get("/v1/stats", response_model=StatsShape)
def stats(context: Context, acting: Reading, from_: From = None, to: To = None) -> Response:
    """Everything in a few figures."""
    period = Period.read(from_, to, context.clock())
    return JsonResponse(Analytics(context.database).stats(acting.seen, period))
