"""Reading foreign JSON without being surprised by it."""

import json
from typing import Any

import orjson

from worker.providers.errors import MaybeBilled


def parse_json(body: bytes) -> Any:
    """The value of a JSON body; None for what is no JSON.

    White space around it is fine (DeepSeek sends blank lines while it thinks). What strict JSON
    forbids but paid answers were seen to hold is mended: a lone surrogate becomes "?", NaN None.
    """
    stripped = body.strip()
    try:
        return orjson.loads(stripped)
    except orjson.JSONDecodeError:
        pass
    try:
        value = json.loads(stripped, parse_constant=lambda _: None)
        return orjson.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def parse_answer(body: bytes) -> dict[str, Any]:
    """The object of a 2xx body. Raises MaybeBilled("garbage") for anything else."""
    value = parse_json(body)
    if not isinstance(value, dict):
        raise garbage("the answer is not a JSON object")
    return value


def garbage(what: str) -> MaybeBilled:
    """The error for a 2xx whose body cannot be read: somebody may have worked for it."""
    return MaybeBilled("garbage", what)
