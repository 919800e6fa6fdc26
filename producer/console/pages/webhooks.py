"""Webhook endpoints: the list, and a new one."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from producer.accounts.access import Right
from producer.console.desk import Desk, desk_of
from producer.console.figures import moment
from producer.console.layout import ask, attempt, button, card, frame, link, part, words
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows, badge

_COLUMNS: Final = (
    Column("endpoint", "Endpoint"),
    Column("status", "Status"),
    Column("events", "Events"),
    Column("failing", "Failing since"),
    Column("made", "Made"),
)


@ui.page("/webhooks")
async def show(request: Request, after: str | None = None) -> None:
    """The endpoints of the project, oldest first."""
    desk = desk_of(request)
    with frame(desk, "Webhooks", "Webhooks"):
        found = await ask(desk.endpoints, after)
        project = desk.acting(Right.READ).project
        with card(f"Endpoints of {project}"):
            Rows("Endpoints", _COLUMNS).show([_row(desk, row) for row in found["data"]])
        if found["has_more"]:
            following = f"{ROOT}/webhooks?after={quote(found['last_id'])}"
            link("Further endpoints", following, "pm-button pm-small")
        if desk.may(Right.SUBMIT):
            _new(desk)


def _new(desk: Desk) -> None:
    with card("A new endpoint"):
        with part("div", "pm-row"):
            url = ui.input("URL").props('type=url placeholder="https://"').classes("pm-url")
            name = ui.input("Name")
            button("Make it", lambda: attempt(make), "pm-first")
        secret = words("p", "", "pm-note").props("role=status")
        secret.set_visibility(False)

    async def make() -> None:
        made = await ask(desk.new_endpoint, url.value.strip(), name.value.strip())
        secret.set_text(f"Its signing secret, shown this once: {made['signing_secret']}")
        secret.set_visibility(True)


def _row(desk: Desk, row: Mapping[str, Any]) -> Row:
    zone = desk.reader.zone
    return {
        "id": row["id"],
        "endpoint": {
            "text": row["name"],
            "href": f"{ROOT}/webhooks/{row['id']}",
            "sub": row["url"],
        },
        "status": badge(row["status"]),
        "events": ", ".join(row["event_types"]),
        "failing": moment(row["failing_since"], zone),
        "made": moment(row["created_at"], zone),
    }
