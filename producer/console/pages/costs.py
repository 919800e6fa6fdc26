"""Costs by day, model, provider, project, purpose and task type; what was saved, and could be."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from producer.console import charts
from producer.console.desk import desk_of
from producer.console.figures import exactly, money, money_cell, number, percent, tokens_cell
from producer.console.layout import Figure, ask, card, field, frame, link, part, words
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows
from producer.reporting.analytics import Period
from shared.db.repositories.analytics import DIMENSIONS

_GROUPS: Final = tuple(name for name in DIMENSIONS if name != "day")
_SERIES: Final = 6
"""Models drawn by name; the others are one."""


_SAVINGS: Final = (
    Column("task", "Task type"),
    Column("jobs", "Jobs", "number"),
    Column("cost", "Cost", "number"),
    Column("saved", "Saved", "number"),
)
_NO_SAVINGS: Final = "No batch has ended in this period."


@ui.page("/costs")
async def show(request: Request, since: str = "", until: str = "", by: str = "model") -> None:
    """The figures of a period, by default of 30 days."""
    desk = desk_of(request)
    with frame(desk, "Costs", "Costs"):
        period = Period.read(since or None, until or None, desk.context.clock())
        group = by if by in _GROUPS else "model"
        _form(period, group)
        stats = await ask(desk.stats, period)
        (saved,) = await ask(desk.savings, period, ())
        _figures(stats, saved)
        daily = await ask(desk.usage, period, ("day", group))
        sums = await ask(desk.usage, period, (group,))
        sums.sort(key=lambda row: -row["cost_nusd"])
        with card(f"By day and {_named(group)}"):
            charts.draw(_drawing(daily, group, [row[group] for row in sums]), "19rem")
        days = await ask(desk.usage, period, ("day",))
        kinds = await ask(desk.savings, period, ("task_type",))
        hints = await ask(desk.hints, period)
        with part("div", "pm-grid"):
            with part("div"):
                with card(f"By {_named(group)}"):
                    shown = [_row(row, group) for row in sums]
                    Rows(f"By {_named(group)}", _columns(group)).show(shown)
                with card("Saved by task type, over the strongest model alone"):
                    Rows("Savings", _SAVINGS, _NO_SAVINGS).show([_saved(row) for row in kinds])
            with part("div"):
                with card("What could be paid less for"):
                    _hints(hints)
                with card("By day"):
                    shown = [_row(row, "day") for row in days[::-1]]
                    Rows("By day", _columns("day")).show(shown)
        words("p", "Days are UTC's, as budgets count them.", "pm-soft")


def _form(period: Period, group: str) -> None:
    with part("form", "pm-row").props(f'method=get action="{ROOT}/costs"'):
        for name, label, value in (
            ("since", "From", period.first),
            ("until", "To", period.last),
        ):
            with part("label", "pm-label"):
                words("span", label)
                field("date", name, str(value))
        with part("label", "pm-label"):
            words("span", "By")
            with part("select").props("name=by"):
                for each in _GROUPS:
                    option = words("option", _named(each)).props(f"value={each}")
                    if each == group:
                        option.props("selected")
        words("button", "Show", "pm-button pm-first").props("type=submit")
        query = urlencode({"since": period.first, "until": period.last, "by": group})
        link("Download CSV", f"{ROOT}/download/costs?{query}", "pm-button").props("download")


def _figures(stats: Mapping[str, Any], savings: Mapping[str, Any]) -> None:
    usage = stats["usage"]
    with part("div", "pm-figures"):
        Figure("Cost of the period", money(usage["cost_nusd"]), exactly(usage["cost_nusd"])).show(
            money(usage["cost_nusd"]), exactly(usage["cost_nusd"]), nusd=usage["cost_nusd"]
        )
        Figure("Of it unconfirmed", money(usage["unconfirmed_nusd"]),
               exactly(usage["unconfirmed_nusd"]))  # fmt: skip
        Figure("Saved over the strongest model").show(
            money(savings["saved_nusd"]),
            f"{exactly(savings['saved_nusd'])}, of batches that ended",
            _share(savings),
        )
        Figure("Attempts", number(usage["attempts"]))
        Figure("Answered", percent(usage["answered"], usage["attempts"]))
        Figure("Tokens in / out").show(
            f"{number(usage['input_tokens'])} / {number(usage['output_tokens'])}",
            under=f"{number(usage['cached_tokens'])} of them cached",
        )


def _hints(hints: Sequence[Mapping[str, Any]]) -> None:
    if not hints:
        words("p", "Nothing that stands out in this period.", "pm-soft")
    with part("ul", "pm-list"):
        for hint in hints:
            worth = f" About {money(hint['saves_nusd'])}." if hint["saves_nusd"] else ""
            words("li", f"{hint['project']}: {hint['message']}{worth}")


def _drawing(
    daily: Sequence[Mapping[str, Any]], group: str, names: Sequence[str]
) -> dict[str, Any]:
    days = sorted({row["day"] for row in daily})
    series: dict[str, list[float]] = {name: [0.0] * len(days) for name in names[:_SERIES]}
    others: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(days))
    for row in daily:
        values = series[row[group]] if row[group] in series else others["others"]
        values[days.index(row["day"])] += charts.dollars(row["cost_nusd"])
    return charts.bars("Cost by day", days, {**series, **others})


def _named(group: str) -> str:
    return group.replace("_", " ")


def _columns(group: str) -> tuple[Column, ...]:
    return (
        Column("group", _named(group).capitalize()),
        Column("attempts", "Attempts", "number"),
        Column("tokens", "Tokens", "number"),
        Column("cost", "Cost", "number"),
    )


def _row(row: Mapping[str, Any], group: str) -> Row:
    return {
        "id": row[group],
        "group": row[group] or "unclassified",
        "attempts": number(row["attempts"]),
        "tokens": tokens_cell(row),
        "cost": money_cell(row["cost_nusd"]),
    }


def _saved(row: Mapping[str, Any]) -> Row:
    return {
        "id": row["task_type"],
        "task": (row["task_type"] or "unclassified").replace("_", " "),
        "jobs": {"text": number(row["jobs"]), "sub": _climbed(row)},
        "cost": money_cell(row["cost_nusd"]),
        "saved": {**money_cell(row["saved_nusd"]), "sub": _share(row)},
    }


def _climbed(row: Mapping[str, Any]) -> str:
    if not row["climbed"]:
        return ""
    return f"{number(row['climbed'])} climbed, {number(row['rescued'])} of them mended"


def _share(row: Mapping[str, Any]) -> str:
    strongest = row["always_strongest_nusd"]
    return f"{percent(row['saved_nusd'], strongest)} of {money(strongest)}" if strongest else ""
