"""Learning: what a project's outcomes say of the models, the policy it routes by, and its trial."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
from fastapi import Request
from nicegui import ui

from producer.accounts.access import Right
from producer.console.desk import Desk, desk_of
from producer.console.figures import moment
from producer.console.layout import ask, attempt, button, card, facts, frame, part, words
from producer.console.pages.trial import show_trial
from producer.console.tables import Column, Row, Rows

Look = Callable[[], Awaitable[None]]

_EVIDENCE: Final = ("good", "bad", "agreed", "differed", "passed", "refused")
_LEARNED: Final = (
    Column("model", "Model"),
    Column("prior", "By the catalog", "number"),
    Column("success", "As it is seen now", "number"),
    Column("at_least", "At least, at 90 %", "number"),
    Column("shift", "Moves its quality by", "number"),
    Column("evidence", "Evidence"),
    Column("forget", ""),
)
_ABOUT: Final = (
    "The chance that an answer is good, per model and task type. People's words (thumbs on a job's "
    "page), comparisons and checks are the evidence; it halves in a month. Routing goes by it at "
    "once where a model is worse than the catalog says, and where it is better as far as that is "
    "shown."
)
_NOTHING: Final = "Nothing yet: routing goes by the catalog until jobs have ended or been judged."


@ui.page("/learning")
async def show(request: Request) -> None:
    """Of the project chosen, or the default one."""
    desk = desk_of(request)
    with frame(desk, "Learning", "Learning"):
        learned = await ask(desk.learned)
        routing = await ask(desk.routing)
        words("p", f"Of the project {learned['project']}; another is chosen at the top."
              if desk.caller().is_admin else f"Of the project {learned['project']}.",
              "pm-soft")  # fmt: skip
        may_change = desk.may(Right.ADMIN)
        with card("Routing policy"):
            _policy(routing["policy"])
        with card("Trial of another policy"):
            if routing["trial"] is None:
                words("p", "None runs. `promptmill routing trial begin` starts one.", "pm-soft")
            else:
                began = moment(routing["trial"]["began_at"], desk.reader.zone)
                show_trial(desk, routing["trial"], began, may_end=may_change)
        with card("What its outcomes taught"):
            words("p", _ABOUT, "pm-soft")
            rows = Rows("Outcomes", _LEARNED, _NOTHING)
            rows.show([_row(each, may_change=may_change) for each in learned["data"]])
            if may_change and learned["data"]:
                button("Forget all of it", lambda: _ask_to_forget(desk, look), "pm-small")

        async def look() -> None:
            told = await ask(desk.learned)
            rows.show([_row(each, may_change=may_change) for each in told["data"]])

        async def forget(what: str) -> None:
            model, _, kind = what.rpartition(" ")

            async def act() -> None:
                await ask(desk.forget, model, kind)
                await look()

            await attempt(act, "Forgotten: the catalog counts again")

        rows.on_act(forget)


async def _ask_to_forget(desk: Desk, look: Look) -> None:
    with ui.dialog() as dialog, ui.card():
        words("h2", "Forget all that this project has learned?")
        words("p", "Routing goes by the catalog until new outcomes come.")
        with part("div", "pm-row"):
            button("Forget it", lambda: dialog.submit("yes"), "pm-first")
            button("Keep it", dialog.close)
    if await dialog == "yes":

        async def act() -> None:
            await ask(desk.forget, None, None)
            await look()

        await attempt(act, "Forgotten: the catalog counts again")


def _policy(wishes: Mapping[str, Any]) -> None:
    if not wishes:
        words("p", "No wishes of its own: it routes by the catalog.", "pm-soft")
    facts({name.replace("_", " "): _said(value) for name, value in wishes.items()})


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {weight:g}" for name, weight in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return orjson.dumps(value).decode()


def _row(row: Mapping[str, Any], *, may_change: bool) -> Row:
    name = f"{row['model']} {row['task_type']}"
    kind = row["task_type"].replace("_", " ")
    told = [f"{row['evidence'][each]:g} {each}" for each in _EVIDENCE if row["evidence"][each]]
    success = row["success"]
    return {
        "id": name,
        "model": {"text": row["model"], "sub": kind},
        "prior": _chance(row["prior"]),
        "success": None if success is None else {"text": _chance(success), "share": success},
        "at_least": _chance(row["at_least"]),
        "shift": f"{row['quality_shift']:+.3f}" if row["quality_shift"] else "0",
        "evidence": ", ".join(told),
        "forget": {"text": "Forget", "act": name} if may_change else "",
    }


def _chance(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"
