"""One batch: live progress and what it will come to, models, climbs, errors, cost over time, and
its lines.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from producer.access import Right
from producer.console import charts
from producer.console.desk import Desk, desk_of
from producer.console.figures import (
    NOTHING,
    clock,
    cut,
    exactly,
    moment,
    money,
    money_cell,
    number,
    outlook,
    percent,
    span,
)
from producer.console.layout import (
    Figure,
    ask,
    attempt,
    button,
    card,
    every,
    frame,
    link,
    part,
    words,
)
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows, badge

_LOOK_S: Final = 1.5
_PATIENCE_S: Final = 0.3
_REPORT_EVERY: Final = 4
"""Looks from one reading of the report to the next: its sums read the whole batch."""
_OVER: Final = {"completed", "failed", "cancelled", "expired"}
_STATES: Final = (
    ("completed", "pm-done"),
    ("failed", "pm-lost"),
    ("running", "pm-now"),
    ("held", "pm-wait"),
    ("cancelled", "pm-gone"),
    ("expired", "pm-gone"),
    ("queued", ""),
)
_SHOWN: Final = 260
_LINES_SHOWN: Final = 10


@ui.page("/batches/{batch_id}")
async def show(request: Request, batch_id: str, after: int = 0) -> None:
    """The page; it follows the batch until it has ended."""
    desk = desk_of(request)
    with frame(desk, "Batch", "Batches"):
        batch = await ask(desk.batch, batch_id)
        view = _View(desk, batch)
        lines = await ask(desk.lines, batch_id, after, _LINES_SHOWN)
        _lines(batch_id, lines, after)
        view.show(batch)
        # With the page where they are there soon; a batch of a million is summed up meanwhile.
        sums = asyncio.ensure_future(_sums(desk, batch_id))
        if (await asyncio.wait((sums,), timeout=_PATIENCE_S))[0]:
            view.report(*sums.result())
        looks, was_over = 0, batch["status"] in _OVER

        async def look() -> None:
            nonlocal looks, was_over
            now = await ask(desk.batch, batch_id)
            view.show(now)
            is_over = now["status"] in _OVER
            if looks == 0:
                view.report(*await sums)
            if (is_over and not was_over) or (looks % _REPORT_EVERY == _REPORT_EVERY - 1):
                view.report(*await _sums(desk, batch_id))
            looks, was_over = looks + 1, is_over
            if is_over:
                follow.deactivate()

        follow = every(_LOOK_S, look, at_once=True)
        view.on_change = follow.activate


async def _sums(desk: Desk, batch_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return await ask(desk.report, batch_id), await ask(desk.spending, batch_id)


class _View:
    """The parts of the page that change."""

    def __init__(self, desk: Desk, batch: Mapping[str, Any]) -> None:
        self._desk = desk
        self._id: str = batch["id"]
        self.on_change: Callable[[], Any] = lambda: None
        own = batch["promptmill"]
        words("p", f"{own['name'] or 'no name'} · {batch['id']} · project {own['project']}",
              "pm-soft")  # fmt: skip
        with part("div", "pm-row pm-middle"):
            self._status = words("span", "", "pm-badge").props("role=status data-test=status")
            self._buttons(desk.may(Right.SUBMIT))
        self._error = words("p", "", "pm-problem")
        self._progress()
        with part("div", "pm-figures"):
            self._cost = Figure("Cost so far")
            self._predicted = Figure("Predicted cost")
            self._left = Figure("Time left, about")
            self._cap = Figure("Cap")
            self._saved = Figure("Saved against the strongest")
            self._climbs = Figure("Escalations")
        with part("div", "pm-grid"):
            with card("Model mix"):
                self._mix = charts.draw(charts.ring("Cost by model", {}), "11rem")
                self._models = Rows("Models", _MODELS)
            with card("Cost over time"):
                self._time = charts.draw(charts.line("Cost so far", [], []))
        with part("div", "pm-grid"):
            with card("Task types"):
                self._tasks = Rows("Task types", _TASKS)
            with card("Errors"):
                self._errors = Rows("Errors of jobs", _ERRORS)
                self._lost = words("p", "", "pm-soft")

    def _progress(self) -> None:
        self._bars: dict[str, Element] = {}
        self._counts: dict[str, Any] = {}
        with card("Jobs by state"):
            with part("div", "pm-progress").props("role=progressbar aria-label=Progress") as bar:
                self._bar = bar
                for state, colour in _STATES:
                    self._bars[state] = part("div", colour)
            with part("div", "pm-legend").props("aria-live=polite"):
                for state, colour in _STATES:
                    with part("span"):
                        part("i", colour or "pm-badge").props("aria-hidden=true")
                        self._counts[state] = words("span", "")

    def _buttons(self, may_change: bool) -> None:
        desk = self._desk
        self._cancel = button("Cancel", self._ask_cancel)
        self._retry = button("Retry failed", lambda: self._do(desk.retry, "The failed jobs run"))
        self._raise = button("Raise the cap", self._ask_cap)
        link("Lines", "#lines", "pm-button")
        self._may_change = may_change

    async def _do(self, verb: Any, done: str, *more: str) -> None:
        async def act() -> None:
            self.show(await ask(verb, self._id, *more))

        if await attempt(act, done):
            self.on_change()

    async def _ask_cancel(self) -> None:
        with ui.dialog() as dialog, ui.card():
            words("h2", "Cancel this batch?")
            words("p", "Nothing more of it starts; calls in flight are finished and charged.")
            with part("div", "pm-row"):
                button("Cancel the batch", lambda: dialog.submit("yes"), "pm-first")
                button("Keep it", dialog.close)
        if await dialog == "yes":
            await self._do(self._desk.cancel, "The batch is called off")

    async def _ask_cap(self) -> None:
        with ui.dialog() as dialog, ui.card():
            words("h2", "What may this batch cost?")
            given = ui.input("USD, all in all").props("inputmode=decimal autofocus")
            with part("div", "pm-row"):
                button("Set", lambda: dialog.submit(given.value), "pm-first")
                button("Leave it", dialog.close)
        if (cap := await dialog) is not None:
            await self._do(self._desk.resume, "The cap is set", str(cap))

    def show(self, batch: Mapping[str, Any]) -> None:
        """How the batch stands."""
        own, status = batch["promptmill"], batch["status"]
        counts = own["counts"]
        shown = badge(status)
        self._status.set_text(shown["text"])
        self._status.classes(replace=f"pm-badge pm-{shown['badge']}")
        total = max(1, counts["total"])
        for state, _ in _STATES:
            self._bars[state].style(replace=f"width: {100 * counts[state] / total}%")
            self._counts[state].set_text(f"{number(counts[state])} {state}")
        ended = total - counts["queued"] - counts["running"] - counts["held"]
        self._bar.props(f"aria-valuemin=0 aria-valuemax={total} aria-valuenow={ended}")
        ahead = outlook(batch, time.time())
        self._cost.show(money(own["cost_nusd"]), exactly(own["cost_nusd"]),
                        _unconfirmed(own), own["cost_nusd"])  # fmt: skip
        cost = own["cost_nusd"] if status in _OVER else ahead.cost_nusd
        self._predicted.show(money(cost), exactly(cost) if cost is not None else "")
        self._left.show("ended" if status in _OVER else span(ahead.left_s), "", self._end(batch))
        cap = own["max_cost_nusd"]
        self._cap.show("none" if cap is None else money(cap), "" if cap is None else exactly(cap))
        self._error.set_text(_refusal(batch))
        self._error.set_visibility(bool(batch["errors"]))
        is_open = status not in _OVER and status != "cancelling"
        self._cancel.set_visibility(self._may_change and is_open)
        can_retry = status == "completed" and counts["failed"] > own["rejected"]
        self._retry.set_visibility(self._may_change and can_retry)
        self._raise.set_visibility(self._may_change and is_open and cap is not None)

    def _end(self, batch: Mapping[str, Any]) -> str:
        zone = self._desk.reader.zone
        for name in ("completed_at", "cancelled_at", "failed_at", "expired_at"):
            if batch[name] is not None:
                return moment(batch[name], zone)
        return f"must end by {moment(batch['expires_at'], zone)}"

    def report(self, report: Mapping[str, Any], spending: list[dict[str, Any]]) -> None:
        """Where the money went."""
        climbs, strongest = report["escalations"], report["always_strongest_nusd"]
        saved = report["saved_nusd"]
        share = f"{percent(saved, strongest)} of {money(strongest)}"
        self._saved.show(money(saved), exactly(saved), share)
        rescued = f"{climbs['rescued']} rescued for {money(climbs['cost_nusd'])}"
        self._climbs.show(number(climbs["climbs"]), "", rescued)
        self._models.show([_model(row) for row in report["by_model"]])
        self._tasks.show([_task(row) for row in report["by_task_type"]])
        self._errors.show([_error(row) for row in report["errors"]])
        lost = report["attempts_without_answer"]
        self._lost.set_text(
            f"Attempts without an answer: {lost['free']['attempts']} free, "
            f"{lost['unconfirmed']['attempts']} unconfirmed "
            f"({money(lost['unconfirmed']['cost_nusd'])})."
        )
        mix = {row["model"]: charts.dollars(row["cost_nusd"]) for row in report["by_model"]}
        _redraw(self._mix, charts.ring("Cost by model", mix))
        at = [clock(row["at"], self._desk.reader.zone) for row in spending]
        _redraw(self._time, charts.line("Cost so far", at, _summed(spending)))


def _redraw(chart: ui.echart, options: Mapping[str, Any]) -> None:
    chart.options.clear()
    chart.options.update(options)
    chart.update()


def _summed(spending: list[dict[str, Any]]) -> list[float]:
    sums, so_far = [], 0
    for row in spending:
        so_far += row["cost_nusd"]
        sums.append(charts.dollars(so_far))
    return sums


def _unconfirmed(own: Mapping[str, Any]) -> str:
    doubtful = own["unconfirmed_nusd"]
    return f"{money(doubtful)} of it unconfirmed" if doubtful else ""


def _refusal(batch: Mapping[str, Any]) -> str:
    errors = (batch["errors"] or {}).get("data", [])
    told = [
        (f"line {each['line']}: " if each["line"] else "") + str(each["message"])
        for each in errors[:5]
    ]
    return " · ".join(told)


_MODELS: Final = (
    Column("model", "Model"),
    Column("attempts", "Attempts", "number"),
    Column("tokens", "Tokens in / out", "number"),
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
_LINES: Final = (
    Column("job", "Job"),
    Column("status", "Status"),
    Column("model", "Model"),
    Column("answer", "Answer"),
    Column("cost", "Cost", "number"),
)


def _model(row: Mapping[str, Any]) -> Row:
    return {
        "id": f"{row['model']} {row['provider']}",
        "model": {"text": row["model"], "sub": row["provider"]},
        "attempts": number(row["attempts"]),
        "tokens": f"{number(row['input_tokens'])} / {number(row['output_tokens'])}",
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


def _error(row: Mapping[str, Any]) -> Row:
    return {
        "id": row["code"],
        "code": row["code"],
        "jobs": number(row["jobs"]),
        "cost": money_cell(row["cost_nusd"]),
    }


def _lines(batch_id: str, lines: list[dict[str, Any]], after: int) -> None:
    with card("Lines that ended, in input order") as section:
        section.props("id=lines")
        Rows("Lines", _LINES).show([_line(line) for line in lines])
        with part("nav", "pm-row").props('aria-label="Pages"'):
            here = f"{ROOT}/batches/{quote(batch_id)}"
            if after:
                link("From the first", f"{here}#lines", "pm-button pm-small")
            if len(lines) == _LINES_SHOWN:
                following = f"{here}?after={lines[-1]['line']}#lines"
                link("Further lines", following, "pm-button pm-small")


def _line(line: Mapping[str, Any]) -> Row:
    error = line["error"] or {}
    text = line["text"] if line["error"] is None else f"{error['code']}: {error['message']}"
    return {
        "id": line["id"],
        "job": {
            "text": line["custom_id"] or line["id"],
            "href": f"{ROOT}/jobs/{line['id']}",
            "sub": f"line {line['line']}",
        },
        "status": badge(line["status"]),
        "model": {"text": line["model"] or NOTHING, "sub": line["tier"] or ""},
        "answer": cut(text, _SHOWN),
        "cost": money_cell(line["cost_nusd"]),
    }
