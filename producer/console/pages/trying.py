"""Try a prompt: see where it would go and why, which costs nothing, and ask it for real."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from producer.accounts.access import Right
from producer.console.asked import answers
from producer.console.desk import desk_of
from producer.console.figures import exactly, money
from producer.console.layout import Figure, ask, attempt, button, card, frame, link, part, words
from producer.console.pages.job import ladder
from producer.console.session import ROOT
from shared.domain.inference import Tier

_WORDS: Final = ("auto", "cheapest", "best", *(tier.value for tier in Tier))


@ui.page("/try")
async def show(request: Request) -> None:
    """A prompt, its route, and its answer."""
    desk = desk_of(request)
    with frame(desk, "Try a prompt", "Try a prompt"):
        named = [model["id"] for model in await ask(desk.models)]
        with card("Prompt"):
            prompt = ui.textarea("Prompt").props("autogrow outlined data-test=prompt")
            prompt.classes("pm-wide")
            with part("div", "pm-row pm-middle"):
                model = ui.select([*_WORDS, *sorted(named)], value="auto", label="Model")
                model.classes("pm-amount")
                cap = ui.input("Cap in USD", value="0.05").props("inputmode=decimal")
                button("Show its route", lambda: attempt(route), "pm-first")
                if desk.may(Right.SUBMIT):
                    button("Ask it", lambda: attempt(send))
        told = part("div").props("aria-live=polite")
        said = part("div").props("aria-live=polite")

        async def route() -> None:
            line = {"prompt": prompt.value or "", "model": model.value}
            decision = await ask(desk.route, line)
            told.clear()
            with told:
                _decision(decision)

        async def send() -> None:
            body = {
                "prompt": prompt.value or "",
                "models": [model.value],
                "max_cost_usd": (cap.value or "").strip() or None,
            }
            said.clear()
            with said:
                words("p", "Asked; waiting for the answer …", "pm-soft")
            async for sides in answers(desk, body):
                said.clear()
                with said:
                    answer(sides[0])


def _decision(decision: Mapping[str, Any]) -> None:
    with card("Route"):
        with part("div", "pm-figures"):
            Figure("Goes to", str(decision["model"]), str(decision["tier"]))
            Figure("Tier", str(decision["tier"]))
            Figure("Task type", str(decision["task_type"]).replace("_", " "))
            Figure("Difficulty", f"{decision['difficulty']:.2f} ({decision['level']})")
            Figure("Confidence", f"{decision['confidence']:.2f}")
        with part("div", "pm-grid"):
            with part("div"):
                words("h2", "Ladder")
                ladder(decision["ladder"])
            with part("div"):
                words("h2", "Reasons")
                with part("ul", "pm-list"):
                    for reason in decision["reasons"]:
                        words("li", str(reason))


def answer(side: Mapping[str, Any]) -> None:
    """One model's answer with its price, or why there is none."""
    with card(str(side["model"])) as section:
        section.props["data-answer"] = side["model"]
        if side["error"] is not None:
            words("p", str(side["error"]["message"]), "pm-problem")
        else:
            words("div", side["text"] or "", "pm-text").props("tabindex=0")
        with part("p", "pm-soft"):
            cost = words("span", f"{money(side['cost_nusd'])} · ")
            cost.props["title"] = exactly(side["cost_nusd"])
            link("its story", f"{ROOT}/jobs/{side['promptmill']['job_id']}")


__all__ = ["answer", "show"]
