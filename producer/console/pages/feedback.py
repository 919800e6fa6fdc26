"""Thumbs on a job's answer: what somebody says of it, which routing learns from."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from nicegui.element import Element

from producer.accounts.access import Right
from producer.console.desk import Desk
from producer.console.layout import ask, attempt, button, part, words

_WORDS: Final = ((1.0, "Yes", "thumb_up"), (0.0, "No", "thumb_down"))


def show_feedback(desk: Desk, story: Mapping[str, Any]) -> None:
    """Nothing where the job has no answer of a language model, or the key may not say."""
    result = story["result"] or {}
    is_answered = result.get("status") == "completed" and result["task_type"] is not None
    if not is_answered or not desk.may(Right.SUBMIT):
        return
    thumbs: dict[float, Element] = {}

    async def say(score: float) -> None:
        if await attempt(lambda: ask(desk.rate, story["id"], score), "Thank you: it is learned"):
            _press(thumbs, score)

    with part("div", "pm-row pm-middle").props('role=group aria-label="Is the answer right?"'):
        words("span", "Is it right?", "pm-soft")
        for score, text, icon in _WORDS:
            with button(text, partial(say, score), "pm-small pm-thumb") as thumbs[score]:
                words("i", icon, "material-icons").props("aria-hidden=true")
    _press(thumbs, story["feedback"])


def _press(thumbs: Mapping[float, Element], said: float | None) -> None:
    for score, thumb in thumbs.items():
        is_said = said is not None and round(said) == score
        thumb.props(f"aria-pressed={str(is_said).lower()}")
