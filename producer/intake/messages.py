"""The messages of a request: roles and contents whose cost can be bounded beforehand.

Pictures, sounds and files are refused: their price is not the price of their bytes.
"""

from collections.abc import Mapping
from typing import Any, Final

from producer.intake.refusal import Refusal

ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_CALLS: Final = ("tool_calls", "function_call")


def from_prompt(value: object) -> tuple[Mapping[str, Any], ...]:
    """One user message of a native line's prompt."""
    if not isinstance(value, str):
        raise Refusal("invalid_type", "prompt", "must be a string")
    if not value.strip():
        raise Refusal("invalid_value", "prompt", "must not be empty")
    return ({"role": "user", "content": value},)


def checked(value: object, at: str) -> tuple[Mapping[str, Any], ...]:
    """The messages as they are, if each has a role and text."""
    if not isinstance(value, list):
        raise Refusal("invalid_type", at, "must be a list of messages")
    if not value:
        raise Refusal("invalid_value", at, "must hold at least one message")
    for index, message in enumerate(value):
        _check(message, at, index)
    return tuple(value)


def _check(message: object, at: str, index: int) -> None:
    if not isinstance(message, dict):
        raise Refusal("invalid_type", f"{at}[{index}]", "must be an object with role and content")
    role = message.get("role")
    if role not in ROLES:
        code = "missing_required_parameter" if role is None else "invalid_value"
        raise Refusal(code, f"{at}[{index}].role", "must be one of " + ", ".join(ROLES))
    content = message.get("content")
    if not isinstance(content, str):
        _check_parts(message, content, f"{at}[{index}].content")
    if message.get("audio") is not None:
        raise _unpriced(f"{at}[{index}].audio", "audio")


def _check_parts(message: Mapping[str, Any], content: object, at: str) -> None:
    if content is None:
        if message["role"] == "assistant" and any(message.get(name) for name in _CALLS):
            return
        raise Refusal("missing_required_parameter", at, "must be a string or a list of text parts")
    if not isinstance(content, list):
        raise Refusal("invalid_type", at, "must be a string or a list of text parts")
    if not content:
        raise Refusal("invalid_value", at, "must hold at least one text part")
    for index, part in enumerate(content):
        _check_part(part, f"{at}[{index}]")


def _check_part(part: object, at: str) -> None:
    if not isinstance(part, dict):
        raise Refusal("invalid_type", at, 'must be an object: {"type": "text", "text": ...}')
    kind = part.get("type")
    if kind is None:
        raise Refusal("missing_required_parameter", f"{at}.type", 'must be "text"')
    if kind != "text":
        raise _unpriced(f"{at}.type", "anything but text")
    if not isinstance(part.get("text"), str):
        raise Refusal("invalid_type", f"{at}.text", "must be a string")


def _unpriced(at: str, what: str) -> Refusal:
    return Refusal(
        "unsupported_parameter",
        at,
        f"{what} cannot be sent yet: its cost cannot be bounded before the call",
    )
