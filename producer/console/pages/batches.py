"""The batches, newest first, with what they did and cost so far."""

import time
from typing import Any
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from producer.console.desk import Desk, desk_of
from producer.console.figures import (
    Cell,
    moment_cell,
    money_cell,
    number,
    outlook,
)
from producer.console.layout import ask, card, every, frame, link, part, words
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows, badge

_LOOK_S = 2.0
_COLUMNS = (
    Column("batch", "Batch"),
    Column("status", "Status"),
    Column("progress", "Done"),
    Column("failed", "Failed", "number"),
    Column("held", "Held", "number"),
    Column("cost", "Cost so far", "number"),
    Column("left", "Left, about", "number"),
    Column("created", "Submitted"),
)
_OVER = {"completed", "failed", "cancelled", "expired"}


@ui.page("/")
async def show(request: Request, after: str | None = None) -> None:
    """The list; the page of those that run is looked at anew every two seconds."""
    desk = desk_of(request)
    with frame(desk, "Batches", "Batches"):
        found = await ask(desk.batches, after)
        with part("div", "pm-row"):
            link("New batch", f"{ROOT}/upload", "pm-button pm-first")
        with card("Newest first"):
            rows = Rows("Batches", _COLUMNS)
            rows.show(_rows(desk, found))
        with part("nav", "pm-row pm-middle").props('aria-label="Pages"'):
            if after is not None:
                link("Newest", f"{ROOT}/", "pm-button pm-small")
            if found["has_more"]:
                older = f"{ROOT}/?after={quote(found['last_id'])}"
                link("Older", older, "pm-button pm-small")
        words("p", f"Times are those of {desk.reader.zone.key}.", "pm-soft")

        async def look() -> None:
            rows.show(_rows(desk, await ask(desk.batches, after)))

        every(_LOOK_S, look)


def _rows(desk: Desk, page: dict[str, Any]) -> list[Row]:
    return [_row(desk, batch) for batch in page["data"]]


def _row(desk: Desk, batch: dict[str, Any]) -> Row:
    own = batch["promptmill"]
    counts = own["counts"]
    ended = counts["total"] - counts["queued"] - counts["running"] - counts["held"]
    project = "" if desk.reader.project else f"{own['project']} · "
    name: Cell = {
        "text": own["name"] or batch["id"],
        "href": f"{ROOT}/batches/{batch['id']}",
        "sub": f"{project}{batch['id'] if own['name'] else own['priority']}",
    }
    done: Cell = {
        "text": f"{number(ended)} of {number(counts['total'])}",
        "share": ended / counts["total"] if counts["total"] else 0,
    }
    ahead = outlook(batch, time.time())
    return {
        "id": batch["id"],
        "batch": name,
        "status": badge(batch["status"]),
        "progress": done,
        "failed": number(counts["failed"]),
        "held": number(counts["held"]),
        "cost": money_cell(own["cost_nusd"]),
        "left": None if batch["status"] in _OVER else ahead.left,
        "created": moment_cell(batch["created_at"], desk.reader.zone),
    }
