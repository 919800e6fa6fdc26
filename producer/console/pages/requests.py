"""The history of requests: newest first, with filters, searched by what they say and by ids."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request
from nicegui import ui
from starlette.responses import RedirectResponse, Response

from producer.console.desk import PAGE, Desk, desk_of
from producer.console.figures import NOTHING, moment_cell, money_cell, number, span
from producer.console.layout import ask, card, field, frame, link, part, words
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows, badge
from producer.reporting.history import LONGEST_SEARCH, Found, Wanted
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
    *,
    after: str | None = None,
    status: str = "",
    tier: str = "",
    task_type: str = "",
    model: str = "",
    batch: str = "",
    to: str = "",
    find: str = "",
) -> Response | None:
    """A page of requests; the filters are a form, so that a list can be kept as a bookmark."""
    desk = desk_of(request)
    found = find.strip()[:LONGEST_SEARCH]
    if found.startswith(("job_", "batch_")):
        place = "jobs" if found.startswith("job_") else "batches"
        return RedirectResponse(f"{ROOT}/{place}/{quote(found)}")
    given = {"status": status, "tier": tier, "task_type": task_type, "model": model}
    filters = {name: value for name, value in given.items() if value}
    others = {"find": found, "batch": batch.strip(), "to": to}
    query = filters | {name: value for name, value in others.items() if value}
    with frame(desk, "Requests", "Requests"):
        models = [each["id"] for each in await ask(desk.models)]
        _form({**given, **others}, models)
        wanted = Wanted(filters, found or None, batch.strip() or None, to or None, after)
        page = await ask(desk.requests, wanted)
        with card("Ended requests, newest first"):
            rows = Rows("Requests", _COLUMNS, "None.")
            rows.show([_row(desk, row) for row in page.requests])
            words("p", _told(page), "pm-soft").props("role=status")
        with part("nav", "pm-row").props('aria-label="Pages"'):
            if after is not None:
                link("Newest", _address(query), "pm-button pm-small")
            if page.after is not None:
                is_full = len(page.requests) == PAGE
                older = _address({**query, "after": page.after})
                link("Older" if is_full else "Look further back", older, "pm-button pm-small")
    return None


def _told(page: Found) -> str:
    if page.after is None or len(page.requests) == PAGE:
        return ""
    return (
        f"Looked through about {number(page.looked)} jobs in the time a page has; there are more."
    )


def _address(query: Mapping[str, Any]) -> str:
    return f"{ROOT}/requests?{urlencode(query)}"


def _form(given: Mapping[str, str], models: list[str]) -> None:
    choices = {
        "status": sorted(status.value for status in TERMINAL),
        "tier": [tier.value for tier in Tier],
        "task_type": [kind.value for kind in TaskType],
        "model": sorted(models),
    }
    with part("form", "pm-row").props(f'method=get action="{ROOT}/requests" role=search'):
        _field("Words of the prompt, custom_id, or an id", "find", given["find"], "pm-search")
        for name, values in choices.items():
            with part("label", "pm-label"):
                words("span", name.replace("_", " ").capitalize())
                with part("select").props(f"name={name}"):
                    for value in ("", *values):
                        option = words("option", value.replace("_", " ") or "any")
                        option.props["value"] = value
                        if value == given[name]:
                            option.props("selected")
        _field("Batch", "batch", given["batch"])
        _field("Made until (UTC)", "to", given["to"], kind="date")
        words("button", "Find", "pm-button pm-first").props("type=submit")


def _field(label: str, name: str, value: str, classes: str = "", kind: str = "text") -> None:
    with part("label", f"pm-label {classes}"):
        words("span", label)
        field(kind, name, value)


def _row(desk: Desk, row: dict[str, Any]) -> Row:
    took = row["latency_ms"]
    return {
        "id": row["id"],
        "request": {
            "text": row["custom_id"] or row["id"],
            "href": f"{ROOT}/jobs/{row['id']}",
            "sub": _where(desk, row),
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
        "ended": moment_cell(row["ended_at"], desk.reader.zone),
    }


def _where(desk: Desk, row: dict[str, Any]) -> str:
    project = "" if desk.reader.project else f"{row['project']} · "
    is_chat = row["batch_id"].startswith("chat")
    return project + ("chat" if is_chat else f"line {row['line']}")


def _how(row: dict[str, Any]) -> str:
    told = [row["tier"] or "", "climbed" if row["escalated"] else "", "cached" * row["cached"]]
    return ", ".join(word for word in told if word)
