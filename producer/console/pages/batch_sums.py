"""What one batch's money went into: models, cost over time, task types, errors, climbs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from nicegui import ui

from producer.console import charts
from producer.console.desk import Desk
from producer.console.figures import Cell, clock, money, money_cell, number, tokens_cell
from producer.console.layout import ask, card, part, words
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows

_MODELS: Final = (
    Column("model", "Model"),
    Column("attempts", "Attempts", "number"),
    Column("tokens", "Tokens", "number"),
    Column("cost", "Cost", "number"),
)
_TASKS: Final = (
    Column("task", "Task type"),
    Column("jobs", "Jobs", "number"),
    Column("completed", "Answered", "number"),
    Column("cost", "Cost", "number"),
)
_ERRORS: Final = (
    Column("code", "Error"),
    Column("jobs", "Jobs", "number"),
    Column("cost", "Cost", "number"),
)

Sums = tuple[dict[str, Any], list[dict[str, Any]]]
"""A batch's report, and its cost by spans of time."""


async def read_sums(desk: Desk, batch_id: str) -> Sums:
    """Both; they read the whole batch."""
    return await ask(desk.report, batch_id), await ask(desk.spending, batch_id)


class SumsView:
    """The cards below the figures; `show` fills them."""

    def __init__(self, desk: Desk, batch_id: str) -> None:
        self._zone = desk.reader.zone
        self._id = batch_id
        with part("div", "pm-grid"):
            with part("div"), card("Model mix"):
                self._mix = charts.draw(charts.ring("Cost by model", {}), "11rem")
                self._models = Rows("Models", _MODELS)
            with part("div"):
                with card("Cost over time"):
                    self._time = charts.draw(charts.line("Cost so far", [], []))
                with card("Errors"):
                    self._errors = Rows("Errors of jobs", _ERRORS, "No job has failed.")
                    self._lost = words("p", "", "pm-soft")
                with card("Task types"):
                    self._tasks = Rows("Task types", _TASKS)

    def show(self, report: Mapping[str, Any], spending: Sequence[Mapping[str, Any]]) -> None:
        """These figures and no others."""
        self._models.show([_model(row) for row in report["by_model"]])
        self._tasks.show([_task(row) for row in report["by_task_type"]])
        self._errors.show([_error(row, self._id) for row in report["errors"]])
        lost = report["attempts_without_answer"]
        self._lost.set_text(
            f"Attempts without an answer: {number(lost['free']['attempts'])} free, "
            f"{number(lost['unconfirmed']['attempts'])} unconfirmed "
            f"({money(lost['unconfirmed']['cost_nusd'])})."
        )
        mix = {row["model"]: charts.dollars(row["cost_nusd"]) for row in report["by_model"]}
        _redraw(self._mix, charts.ring("Cost by model", mix))
        at = [clock(row["at"], self._zone) for row in spending]
        _redraw(self._time, charts.line("Cost so far", at, _summed(spending)))


def _redraw(chart: ui.echart, options: Mapping[str, Any]) -> None:
    chart.options.clear()
    chart.options.update(options)
    chart.update()


def _summed(spending: Sequence[Mapping[str, Any]]) -> list[float]:
    sums, so_far = [], 0
    for row in spending:
        so_far += row["cost_nusd"]
        sums.append(charts.dollars(so_far))
    return sums


def _model(row: Mapping[str, Any]) -> Row:
    return {
        "id": f"{row['model']} {row['provider']}",
        "model": {"text": row["model"], "sub": row["provider"]},
        "attempts": number(row["attempts"]),
        "tokens": tokens_cell(row),
        "cost": money_cell(row["cost_nusd"]),
    }


def _task(row: Mapping[str, Any]) -> Row:
    return {
        "id": row["task_type"],
        "task": row["task_type"].replace("_", " "),
        "jobs": number(row["jobs"]),
        "completed": number(row["completed"]),
        "cost": money_cell(row["cost_nusd"]),
    }


def _error(row: Mapping[str, Any], batch_id: str) -> Row:
    where = urlencode({"batch": batch_id, "status": "failed"})
    code: Cell = {"text": row["code"], "href": f"{ROOT}/requests?{where}"}
    return {
        "id": row["code"],
        "code": code,
        "jobs": number(row["jobs"]),
        "cost": money_cell(row["cost_nusd"]),
    }
