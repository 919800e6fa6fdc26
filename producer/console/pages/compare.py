"""Compare: one prompt, several models, their answers side by side as they come."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from producer.accounts.access import Right
from producer.asked import MAX_COMPARED
from producer.console.asked import answers
from producer.console.desk import desk_of
from producer.console.layout import ask, attempt, button, card, frame, part, words
from producer.console.pages.trying import answer
from shared.catalog.spec import EMBEDDINGS
from shared.errors import AccessError

_CHOSEN: Final = 3


@ui.page("/compare")
async def show(request: Request) -> None:
    """The choice of models, the prompt, the answers."""
    desk = desk_of(request)
    with frame(desk, "Compare", "Compare"):
        if not desk.may(Right.SUBMIT):
            raise AccessError("this key may look but not ask", known=True)
        named = [each["id"] for each in await ask(desk.models) if _answers(each["promptmill"])]
        with card("Ask several models the same"):
            prompt = ui.textarea("Prompt").props("autogrow outlined data-test=prompt")
            prompt.classes("pm-wide")
            chosen = ui.select(
                named, multiple=True, value=named[:_CHOSEN], label=f"Models (1 to {MAX_COMPARED})"
            )
            chosen.props("use-chips outlined").classes("pm-wide")
            with part("div", "pm-row pm-middle"):
                cap = ui.input("Cap in USD, together", value="0.10").props("inputmode=decimal")
                button("Compare", lambda: attempt(send), "pm-first")
        state = words("p", "", "pm-soft").props("role=status")
        said = part("div", "pm-grid")

        async def send() -> None:
            body = {
                "prompt": prompt.value or "",
                "models": list(chosen.value),
                "max_cost_usd": (cap.value or "").strip() or None,
            }
            said.clear()
            state.set_text("Asked; waiting for the answers …")
            async for sides in answers(desk, body):
                said.clear()
                with said:
                    for side in sides:
                        answer(side)
                state.set_text(f"{len(sides)} of {len(chosen.value)} answers are here.")


def _answers(model: Mapping[str, Any]) -> bool:
    return bool(model["available"]) and EMBEDDINGS not in model["capabilities"]
