"""One webhook endpoint: what was sent to it, every try, and sending again."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from producer.accounts.access import Right
from producer.console.desk import Desk, desk_of
from producer.console.figures import NOTHING, moment, number
from producer.console.layout import ask, attempt, button, card, every, frame, link, part, words
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows, badge

_LOOK_S: Final = 2.0
_COLUMNS: Final = (
    Column("event", "Event"),
    Column("status", "Status"),
    Column("tries", "Tries", "number"),
    Column("last", "Last answer"),
    Column("made", "Made"),
    Column("next", "Next try"),
    Column("again", ""),
)


@ui.page("/webhooks/{endpoint_id}")
async def show(request: Request, endpoint_id: str, after: str | None = None) -> None:
    """The deliveries, newest first."""
    desk = desk_of(request)
    with frame(desk, "Webhook", "Webhooks"):
        endpoint = await ask(desk.endpoint, endpoint_id)
        page = await ask(desk.deliveries, endpoint_id, after)
        words("p", f"{endpoint['name']} · {endpoint['url']} · {endpoint['status']}", "pm-soft")
        may_send = desk.may(Right.SUBMIT)
        if may_send:
            with part("div", "pm-row"):
                button("Send a test event", lambda: attempt(try_it))
        with card("Deliveries, newest first"):
            rows = Rows("Deliveries", _COLUMNS)
            rows.show([_row(desk, row, may_send=may_send) for row in page["data"]])
        with part("nav", "pm-row").props('aria-label="Pages"'):
            here = f"{ROOT}/webhooks/{quote(endpoint_id)}"
            if after is not None:
                link("Newest", here, "pm-button pm-small")
            if page["has_more"]:
                link("Older", f"{here}?after={quote(page['last_id'])}", "pm-button pm-small")

        async def look() -> None:
            found = (await ask(desk.deliveries, endpoint_id, after))["data"]
            rows.show([_row(desk, row, may_send=may_send) for row in found])

        async def try_it() -> None:
            told = await ask(desk.try_endpoint, endpoint_id)
            outcome = told["error"] or f"answered with {told['status_code']}"
            ui.notify(outcome, type="positive" if told["success"] else "warning")
            await look()

        async def again(delivery_id: str) -> None:
            async def send() -> None:
                await ask(desk.redeliver, delivery_id)
                await look()

            await attempt(send, "It is sent again")

        rows.on_act(again)
        every(_LOOK_S, look)


def _row(desk: Desk, row: Mapping[str, Any], *, may_send: bool) -> Row:
    zone = desk.reader.zone
    answer = f"HTTP {row['status_code']}" if row["status_code"] else NOTHING
    took = f"{row['log'][-1]['duration_ms']} ms" if row["log"] else ""
    return {
        "id": row["id"],
        "event": {"text": row["event_type"], "sub": row["id"]},
        "status": badge(row["status"]),
        "tries": number(row["tries"]),
        "last": {"text": row["error"] or answer, "sub": took},
        "made": moment(row["created_at"], zone),
        "next": moment(row["next_try_at"], zone),
        "again": {"text": "Redeliver", "act": row["id"]} if may_send else "",
    }
