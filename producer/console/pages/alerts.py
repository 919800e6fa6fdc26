"""Alerts: what somebody should look at now, and where it leads."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from producer.console.desk import Desk, desk_of
from producer.console.figures import moment_cell
from producer.console.layout import ask, card, every, frame, words
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows, badge

_LOOK_S: Final = 3.0
_ALERTS: Final = (
    Column("severity", "Severity"),
    Column("matter", "What"),
    Column("project", "Project"),
    Column("since", "Since"),
)
_PLACES: Final = {"budget": "/budgets", "provider": "/providers", "webhook": "/webhooks"}
"""Where to look into a matter, by the first word of its kind."""
_ABOUT: Final = (
    "Looked for every five seconds. The same is told by webhook, to Slack and by e-mail where "
    "PROMPTMILL_ALERT_WEBHOOK_URL, PROMPTMILL_ALERT_SLACK_URL or PROMPTMILL_ALERT_MAIL_TO is set."
)


@ui.page("/alerts")
async def show(request: Request) -> None:
    """What is open, the newest first, looked at anew every three seconds."""
    desk = desk_of(request)
    with frame(desk, "Alerts", "Alerts"):
        found = await ask(desk.alerts)
        with card("Open now"):
            rows = Rows("Alerts", _ALERTS, "All is well: nothing needs anybody now.")
            rows.show([_row(desk, each) for each in found])
        words("p", _ABOUT, "pm-soft")

        async def look() -> None:
            rows.show([_row(desk, each) for each in await ask(desk.alerts)])

        every(_LOOK_S, look)


def _row(desk: Desk, alert: Mapping[str, Any]) -> Row:
    place = _PLACES.get(alert["kind"].partition(".")[0])
    matter = {"text": alert["message"], "sub": alert["kind"]}
    if place is not None:
        matter["href"] = f"{ROOT}{place}"
    return {
        "id": f"{alert['kind']} {alert['since']} {alert['message']}",
        "severity": badge(alert["severity"]),
        "matter": matter,
        "project": alert["project"],
        "since": moment_cell(alert["since"], desk.reader.zone),
    }
