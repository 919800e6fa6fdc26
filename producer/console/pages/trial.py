"""A trial of another routing policy: both sides' means, how they differ, and whether by chance."""

from collections.abc import Mapping
from typing import Any, Final

from nicegui import ui

from producer.console.desk import Desk
from producer.console.figures import NOTHING, money, number
from producer.console.layout import ask, attempt, button, words
from producer.console.tables import Column, Row, Rows

_FIGURES: Final = {
    "cost_nusd": "Cost of a job",
    "accepted": "Answers the checks accept",
    "feedback": "People's word, 0 to 1",
    "latency_ms": "Time of an answer",
    "climbs": "Climbs of a job",
}
_COLUMNS: Final = (
    Column("figure", "Mean"),
    Column("a", "a: own policy", "number"),
    Column("b", "b: tried", "number"),
    Column("difference", "b less a", "number"),
    Column("chance", "By chance?"),
)


def show_trial(desk: Desk, trial: Mapping[str, Any], began: str, *, may_end: bool) -> None:
    """What it has shown until now."""
    wishes = ", ".join(f"{name.replace('_', ' ')}: {v}" for name, v in trial["policy"].items())
    arms = trial["arms"]
    words("p", f"{trial['name']}: {100 * trial['share']:.0f} % of the jobs with {wishes}, since "
               f"{began}.")  # fmt: skip
    words("p", f"{number(arms['a']['jobs'])} jobs by a, {number(arms['b']['jobs'])} by b; from 30 "
               "each on differences can be told from chance.", "pm-soft")  # fmt: skip
    Rows("Trial", _COLUMNS).show([_row(name, trial) for name in _FIGURES])
    words("p", _verdict(trial), "pm-note").props("role=status")
    if not may_end:
        return

    async def end() -> None:
        if await attempt(lambda: ask(desk.end_trial), "All jobs go by the project's own policy"):
            ui.navigate.reload()

    button("End the trial", end)


def _verdict(trial: Mapping[str, Any]) -> str:
    if trial["better"] is None:
        return f"Neither is shown to be better: {trial['because']}."
    side = "The tried policy (b)" if trial["better"] == "b" else "The project's own policy (a)"
    return f"{side} is better, by: {_FIGURES[trial['because']].lower()}."


def _row(figure: str, trial: Mapping[str, Any]) -> Row:
    found = trial["differences"][figure]
    error = "" if found["error_95"] is None else f"± {_shown(figure, found['error_95'])}"
    sign = "+" if (found["value"] or 0) > 0 else ""
    return {
        "id": figure,
        "figure": _FIGURES[figure],
        "a": _shown(figure, trial["arms"]["a"][figure]),
        "b": _shown(figure, trial["arms"]["b"][figure]),
        "difference": {"text": f"{sign}{_shown(figure, found['value'])}", "sub": error},
        "chance": _chance(found),
    }


def _shown(figure: str, value: float | None) -> str:
    if value is None:
        return NOTHING
    match figure:
        case "cost_nusd":
            return money(round(value))
        case "latency_ms":
            return f"{round(value):,} ms"
        case "accepted":
            return f"{100 * value:.1f} %"
        case _:
            return f"{value:.3f}"


def _chance(found: Mapping[str, Any]) -> dict[str, str]:
    if found["p"] is None:
        return {"text": "too few jobs"}
    told = f"p {found['p']:.3g}"
    return {"text": "hardly" if found["significant"] else "may be", "sub": told,
            "badge": "good" if found["significant"] else "plain"}  # fmt: skip
