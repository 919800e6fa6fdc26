"""One batch: live progress and what it will come to, models, climbs, errors, cost over time, and
its lines.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from producer.accounts.access import Right
from producer.console.desk import Desk, desk_of
from producer.console.figures import (
    NOTHING,
    Outlook,
    clock,
    exactly,
    moment,
    money,
    number,
    outlook,
    percent,
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
from producer.console.pages.batch_lines import SHOWN, show_lines
from producer.console.pages.batch_sums import SumsView, read_sums
from producer.console.tables import badge

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


@ui.page("/batches/{batch_id}")
async def show(request: Request, batch_id: str, after: int = 0) -> None:
    """The page; it follows the batch until it has ended."""
    desk = desk_of(request)
    with frame(desk, "Batch", "Batches"):
        batch = await ask(desk.batch, batch_id)
        view = _View(desk, batch)
        lines = await ask(desk.lines, batch_id, after, SHOWN)
        show_lines(batch_id, lines, after)
        view.show(batch)
        # With the page where they are there soon; a batch of a million is summed up meanwhile.
        sums = asyncio.ensure_future(read_sums(desk, batch_id))
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
                view.report(*await read_sums(desk, batch_id))
            looks, was_over = looks + 1, is_over
            if is_over:
                follow.deactivate()

        follow = every(_LOOK_S, look, at_once=True)
        view.on_change = follow.activate


class _View:
    """The parts of the page that change."""

    def __init__(self, desk: Desk, batch: Mapping[str, Any]) -> None:
        self._desk = desk
        self._id: str = batch["id"]
        self._batch = batch
        self.on_change: Callable[[], Any] = lambda: None
        self._expected: Mapping[str, Any] | None = None
        own = batch["promptmill"]
        words("p", f"{own['name'] or 'no name'} · {batch['id']} · project {own['project']}",
              "pm-soft")  # fmt: skip
        with part("div", "pm-row pm-middle"):
            self._status = words("span", "", "pm-badge").props("role=status data-test=status")
            self._buttons(desk.may(Right.SUBMIT))
        self._error = words("p", "", "pm-problem").props("role=alert")
        self._waits = words("p", "", "pm-note").props("role=status")
        self._progress()
        with part("div", "pm-figures"):
            self._cost = Figure("Cost so far")
            self._predicted = Figure("Predicted total")
            self._left = Figure("Time left, about")
            self._cap = Figure("Cap")
            self._saved = Figure("Saved against the strongest")
            self._climbs = Figure("Escalations")
        self._sums = SumsView(desk, self._id)

    def _progress(self) -> None:
        self._bars: dict[str, Element] = {}
        self._counts: dict[str, Any] = {}
        with card("Jobs by state"):
            with part("div", "pm-progress").props("role=progressbar aria-label=Progress") as bar:
                self._bar = bar
                for state, colour in _STATES:
                    self._bars[state] = part("div", colour)
            with part("div", "pm-legend"):
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
        self._batch = batch
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
        cap = own["max_cost_nusd"]
        self._predict(own["cost_nusd"], cap)
        left = "ended" if status in _OVER else ahead.left
        self._left.show(left, "", self._end(batch, ahead))
        self._cap.show("none" if cap is None else money(cap), "" if cap is None else exactly(cap))
        self._error.set_text(_refusal(batch))
        self._error.set_visibility(bool(batch["errors"]))
        self._waits.set_text(_waiting(counts, cap))
        self._waits.set_visibility(bool(self._waits.text))
        is_open = status not in _OVER and status != "cancelling"
        self._cancel.set_visibility(self._may_change and is_open)
        can_retry = status == "completed" and counts["failed"] > own["rejected"]
        self._retry.set_visibility(self._may_change and can_retry)
        self._raise.set_visibility(self._may_change and is_open and cap is not None)

    def _predict(self, cost: int, cap: int | None) -> None:
        """By its own answers so far, beside what was expected before the first; in the end what it
        came to.
        """
        if self._expected is None:
            self._predicted.show(NOTHING)
            return
        first, now = self._expected["cost_nusd"], self._expected["now"]
        under = f"expected {money(first['p50'])}, hardly over {money(first['p95'])}"
        if now is not None and self._batch["status"] not in _OVER:
            cost = max(cost, now["cost_nusd"]["p50"])
            under = f"hardly over {money(now['cost_nusd']['p95'])}; at first {money(first['p50'])}"
        if cap is not None and cost > cap:
            cost, under = cap, f"without its cap {money(cost)}"
        self._predicted.show(money(cost), exactly(cost), under)

    def _end(self, batch: Mapping[str, Any], ahead: Outlook) -> str:
        zone = self._desk.reader.zone
        for name in ("completed_at", "cancelled_at", "failed_at", "expired_at"):
            if batch[name] is not None:
                return moment(batch[name], zone)
        about = "" if ahead.left_s is None else f"at {clock(time.time() + ahead.left_s, zone)}, "
        return f"{about}must end by {moment(batch['expires_at'], zone)}"

    def report(self, report: Mapping[str, Any], spending: list[dict[str, Any]]) -> None:
        """Where the money went."""
        self._expected = report["predicted"]
        climbs, strongest = report["escalations"], report["always_strongest_nusd"]
        saved = report["saved_nusd"]
        share = f"{percent(saved, strongest)} of {money(strongest)}"
        self._saved.show(money(saved), exactly(saved), share)
        rescued = f"{climbs['rescued']} rescued for {money(climbs['cost_nusd'])}"
        self._climbs.show(number(climbs["climbs"]), "", rescued)
        self._sums.show(report, spending)
        self.show(self._batch)


def _unconfirmed(own: Mapping[str, Any]) -> str:
    doubtful = own["unconfirmed_nusd"]
    return f"{money(doubtful)} of it unconfirmed" if doubtful else ""


def _waiting(counts: Mapping[str, int], cap: int | None) -> str:
    held = counts["held"]
    if not held:
        return ""
    way = "Raise the cap, or raise the project's limit" if cap is not None else "Raise the limit"
    return (
        f"{number(held)} jobs wait for money: a limit is used up. {way} (Budgets tells which it "
        "is), or wait for its new period; they go on by themselves."
    )


def _refusal(batch: Mapping[str, Any]) -> str:
    errors = (batch["errors"] or {}).get("data", [])
    told = [
        (f"line {each['line']}: " if each["line"] else "") + str(each["message"])
        for each in errors[:5]
    ]
    return " · ".join(told)
