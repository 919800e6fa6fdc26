"""Budgets: a project's windows, their limits to be set, and the jobs that limits hold."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from producer.accounts.access import Right
from producer.console.desk import Desk, desk_of
from producer.console.figures import Cell, money_cell, number
from producer.console.layout import ask, attempt, button, card, every, frame, part, words
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows
from shared.domain.money import usd_from_nusd

Look = Callable[[], Awaitable[None]]

_LOOK_S: Final = 3.0
_WINDOWS: Final = (
    Column("window", "Window"),
    Column("spent", "Spent", "number"),
    Column("reserved", "Reserved", "number"),
    Column("limit", "Limit", "number"),
    Column("left", "Left", "number"),
)
_HELD: Final = (
    Column("limit", "Limit"),
    Column("project", "Project"),
    Column("jobs", "Jobs held", "number"),
)


@ui.page("/budgets")
async def show(request: Request) -> None:
    """A card a project."""
    desk = desk_of(request)
    with frame(desk, "Budgets", "Budgets"):
        chosen = desk.reader.project if desk.caller().is_admin else None
        projects = [chosen] if chosen else await ask(desk.projects)
        with part("div", "pm-grid"):
            for project in projects:
                await _project(desk, project)
        with card("Jobs that wait for money"):
            held = Rows("Held jobs", _HELD)

            async def look() -> None:
                held.show([_held(row) for row in await ask(desk.held)])

            await look()
            every(_LOOK_S, look)
            words("p", "They go on by themselves after a higher limit or in a new period (UTC).",
                  "pm-soft")  # fmt: skip


async def _project(desk: Desk, project: str) -> None:
    with card(project) as section:
        section.props["data-project"] = project
        windows = Rows(f"Windows of {project}", _WINDOWS)
        budget = await ask(desk.budget, project)

        async def look() -> None:
            windows.show([_window(row) for row in (await ask(desk.budget, project))["windows"]])

        windows.show([_window(row) for row in budget["windows"]])
        every(_LOOK_S, look)
        if desk.may(Right.ADMIN):
            _limits(desk, project, budget, look)


def _limits(desk: Desk, project: str, budget: Mapping[str, Any], look: Look) -> None:
    given: dict[str, ui.input] = {}
    with part("div", "pm-row"):
        for window in budget["windows"]:
            name, limit = window["window"], window["limit_nusd"]
            given[name] = ui.input(
                f"{name.capitalize()}, USD", value="" if limit is None else usd_from_nusd(limit)
            ).props(f'inputmode=decimal placeholder="no limit" dense data-test="{name}"')
            given[name].classes("pm-amount")
        button("Set limits", lambda: attempt(change, "The limits are set"))

    async def change() -> None:
        limits = {f"{name}_usd": field.value.strip() or None for name, field in given.items()}
        await ask(desk.set_budget, project, limits)
        await look()


def _window(row: Mapping[str, Any]) -> Row:
    limit = row["limit_nusd"]
    used = row["spent_nusd"] + row["reserved_nusd"]
    window: Cell = {"text": row["window"], "sub": row["period"] or "all time"}
    left = money_cell(row["remaining_nusd"])
    return {
        "id": row["window"],
        "window": window if not limit else {**window, "share": min(1.0, used / limit)},
        "spent": money_cell(row["spent_nusd"]),
        "reserved": money_cell(row["reserved_nusd"]),
        "limit": "none" if limit is None else money_cell(limit),
        "left": None if limit is None else left,
    }


def _held(row: Mapping[str, Any]) -> Row:
    cell: Cell = {"text": f"{row['kind']} of the project"}
    if row["kind"] == "batch":
        cell = {"text": f"cap of {row['of']}", "href": f"{ROOT}/batches/{row['of']}"}
    elif row["kind"] == "key":
        cell = {"text": f"spend limit of the key {row['of']}"}
    return {
        "id": f"{row['kind']} {row['project']} {row['of']}",
        "limit": cell,
        "project": row["project"],
        "jobs": number(row["jobs"]),
    }
