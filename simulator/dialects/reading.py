"""Reading request bodies: the pieces that all wires share, refusing what is malformed."""

from dataclasses import dataclass
from typing import Any

from simulator.exchange import Json, Problem, Refused


@dataclass(slots=True)
class Conversation:
    """What the messages of a request hold, counted as the simulator counts."""

    prompt: str = ""
    text_bytes: int = 0
    messages: int = 0

    def add(self, text: str, *, from_user: bool) -> None:
        """Count one message; the last one of the user is the prompt."""
        self.messages += 1
        self.text_bytes += len(text.encode("utf-8", "replace"))
        if from_user or self.messages == 1:
            self.prompt = text


def refuse(message: str, param: str | None = None) -> Refused:
    """The refusal of a bad request, to be raised."""
    return Refused(Problem(400, "invalid_request", message, param))


def text_of(content: Any, param: str) -> str:
    """A content's text: a string, or parts of which those with text count."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise refuse(f"Invalid type for '{param}': expected a string or an array.", param)
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(part for part in parts if isinstance(part, str))


def chat_messages(body: Json) -> Conversation:
    """The conversation in `messages` of role and content (all wires but Gemini)."""
    messages = body.get("messages")
    if messages is None:
        raise refuse("Missing required parameter: 'messages'.", "messages")
    if not isinstance(messages, list) or not messages:
        raise refuse("Invalid 'messages': expected an array with at least one item.", "messages")
    conversation = Conversation()
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise refuse(f"Missing required parameter: 'messages[{index}].role'.", "messages")
        text = text_of(message.get("content"), f"messages[{index}].content")
        conversation.add(text, from_user=message["role"] == "user")
    return conversation


def model_of(body: Json) -> str:
    """The model's name."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise refuse("you must provide a model parameter", "model")
    return model


def whole(body: Json, name: str, least: int = 1) -> int | None:
    """A whole number that may be missing."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(f"Invalid type for '{name}': expected an integer.", name)
    if value < least:
        raise refuse(f"Invalid '{name}': integer below minimum value. Expected >= {least}.", name)
    return value


def table(body: Json, name: str) -> Json:
    """An object that may be missing: then an empty one."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise refuse(f"Invalid type for '{name}': expected an object.", name)
    return value


def tables(body: Json, name: str) -> list[Json]:
    """A list of objects that may be missing: then an empty one."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise refuse(f"Invalid type for '{name}': expected an array of objects.", name)
    return value
