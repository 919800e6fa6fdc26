"""What simulated models say of prompts and answers that they are asked to label or to grade.

Recognised by what they are handed: a JSON object with a `prompt`, or with a `rubric` beside prompt
and answer. A grade is high, unless the rubric says that an answer must mention something and it
does not.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import orjson

_MUST_MENTION: Final = re.compile(r"must mention (\w+)", re.IGNORECASE)


def judgement(prompt: str, looks_hard: Callable[[str], bool]) -> str | None:
    """The label or the grade that a prompt asks for; None where it asks for neither."""
    at = max(prompt.rfind('{"prompt":'), prompt.rfind('{"rubric":'))
    if at < 0:
        return None
    try:
        asked: dict[str, Any] = orjson.loads(prompt[at:])
    except orjson.JSONDecodeError:
        return None
    if asked.keys() == {"prompt"}:
        hard = looks_hard(str(asked["prompt"]))
        kind, difficulty = ("complex_reasoning", 0.9) if hard else ("simple_qa", 0.2)
        return orjson.dumps({"task_type": kind, "difficulty": difficulty}).decode()
    if asked.keys() == {"rubric", "prompt", "answer"}:
        wanted = _MUST_MENTION.findall(str(asked["rubric"]))
        lacking = [word for word in wanted if word.lower() not in str(asked["answer"]).lower()]
        reason = f"does not mention {lacking[0]}" if lacking else "says what is asked"
        return orjson.dumps({"grade": 2 if lacking else 9, "reason": reason}).decode()
    return None
