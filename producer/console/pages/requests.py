"""The history of requests: newest first, with filters, and a search by ids."""

from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request
from nicegui import ui
from starlette.responses import RedirectResponse, Response

from producer.console.desk import Desk, desk_of
from producer.console.figures import NOTHING, moment, money_cell, number, span
from producer.console.layout import ask, card, frame, link, part, words
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows, badge
from shared.domain.inference import TaskType, Tier
from shared.domain.job import TERMINAL

_COLUMNS: Final = (
    Column("request", "Request"),
    Column("status", "Status"),
    Column("task", "Task type"),
    Column("model", "Model"),
    Column("attempts", "Attempts", "number"),
    Column("took", "Took", "number"),
    Column("cost", "Cost", "number"),
    Column("ended", "Ended"),
)


@ui.page("/requests")
async def show(
    request: Request,
    after: str | None = None,
    status: str = "",
    tier: str = "",
    task_type: str = "",
    model: str = "",
    find: str = "",
) -> Response | None:
    """A page of requests; the filters are a form, so that a list can be kept as a bookmark."""
    desk = desk_of(request)
    found = find.strip()
    if found.startswith(("job_", "batch_")):
        place = "jobs" if found.startswith("job_") else "batches"
        return RedirectResponse(f"{ROOT}/{place}/{quote(found)}")
    given = {"status": status, "tier": tier, "task_type": task_type, "model": model}
    filters = {name: value for name, value in given.items() if value}
    with frame(desk, "Requests", "Requests"):
        models = [each["id"] for each in await ask(desk.models)]
        _form(given, models)
        rows, following = await ask(desk.requests, filters, after)
        with card("Ended requests, newest first"):
            Rows("Requests", _COLUMNS).show([_row(desk, row) for row in rows])
            if not rows and following:
                words("p", "None among the newest; look further back.", "pm-soft")
        with part("nav", "pm-row").props('aria-label="Pages"'):
            if after is not None:
                link("Newest", _address(filters), "pm-button pm-small")
            if following is not None:
                link("Older", _address({**filters, "after": following}), "pm-button pm-small")
    return None


def _address(query: dict[str, Any]) -> str:
    return f"{ROOT}/requests?{urlencode(query)}"


def _form(given: dict[str, str], models: list[str]) -> None:
    choices = {
        "status": sorted(status.value for status in TERMINAL),
        "tier": [tier.value for tier in Tier],
        "task_type": [kind.value for kind in TaskType],
        "model": sorted(models),
    }
    with part("form", "pm-row").props(f'method=get action="{ROOT}/requests" role=search'):
        with part("label", "pm-label"):
            words("span", "Job's or batch's id")
            part("input", "pm-field").props('name=find placeholder="job_…"')
        for name, values in choices.items():
            with part("label", "pm-label"):
                words("span", name.replace("_", " ").capitalize())
                with part("select").props(f"name={name}"):
                    for value in ("", *values):
                        option = words("option", value.replace("_", " ") or "any")
                        option.props["value"] = value
                        if value == given[name]:
                            option.props("selected")
        words("button", "Find", "pm-button pm-first").props("type=submit")


def _row(desk: Desk, row: dict[str, Any]) -> Row:
    took = row["latency_ms"]
    return {
        "id": row["id"],
        "request": {
            "text": row["custom_id"] or row["id"],
            "href": f"{ROOT}/jobs/{row['id']}",
            "sub": f"{row['project']} · {'chat' if row['batch_id'].startswith('chat') else 'batch'}"
            f" · line {row['line']}",
        },
        "status": badge(row["status"]),
        "task": {
            "text": (row["task_type"] or NOTHING).replace("_", " "),
            "sub": "" if row["difficulty"] is None else f"difficulty {row['difficulty']:.2f}",
        },
        "model": {"text": row["model"] or NOTHING, "sub": _how(row)},
        "attempts": number(row["attempts"]),
        "took": span(None if took is None else took / 1000),
        "cost": money_cell(row["cost_nusd"]),
        "ended": moment(row["ended_at"], desk.reader.zone),
    }


def _how(row: dict[str, Any]) -> str:
    told = [row["tier"] or "", "climbed" if row["escalated"] else "", "cached" * row["cached"]]
    return ", ".join(word for word in told if word)
