"""OpenAI's messages and parameters in a form the other wires can be written from.

Only text is taken: what an image, sound or file costs cannot be bounded before it is sent, so such
parts are refused on every wire.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from shared.catalog.spec import ModelSpec, ProviderSpec
from shared.domain.inference import JsonObject, Request
from worker.providers.errors import NotSent

_TEXT_PARTS: Final = {"text": "text", "refusal": "refusal", "input_text": "text"}
_ROLES: Final = {
    "system": "system", "developer": "system", "user": "user",
    "assistant": "assistant", "tool": "tool", "function": "tool",
}  # fmt: skip

UNSENDABLE: Final = frozenset(
    {
        # Set by the wire itself; a second spelling of the limit would undo the first.
        "model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options",
        # Charged besides the tokens, or to another model, so that no worst case is known.
        "best_of", "web_search_options", "plugins", "models", "route", "modalities", "audio",
        "background", "moderation",
    }
)  # fmt: skip
_PRICED_AS_LISTED: Final = frozenset({None, "auto", "default", "flex", "on_demand", "standard"})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool by the model. arguments: the JSON text it wrote."""

    id: str
    name: str
    arguments: str

    def parsed(self) -> dict[str, Any]:
        """The arguments as an object. Raises NotSent where they are not one."""
        try:
            value = orjson.loads(self.arguments or "{}")
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise cannot_encode(f"the arguments of tool call {self.id!r:.60} are no JSON object")
        return value


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. role: system, user, assistant or tool; tool turns answer `tool_call_id`."""

    role: str
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call."""

    name: str
    description: str | None
    parameters: JsonObject
    strict: bool | None


def cannot_encode(why: str) -> NotSent:
    """The error for a request that a wire cannot say."""
    return NotSent("cannot_encode", why)


def turns_of(messages: Iterable[JsonObject]) -> tuple[Turn, ...]:
    """The messages as turns. Raises NotSent for unknown roles and for parts that are no text."""
    return tuple(_turn(message) for message in messages)


def refuse_unsendable(messages: Iterable[JsonObject]) -> None:
    """Raises NotSent where `turns_of` does; for a wire that sends the messages as they are."""
    for message in messages:
        is_plain = isinstance(message.get("content"), str) and str(message.get("role")) in _ROLES
        if not is_plain or message.get("tool_calls"):
            _turn(message)


def system_text(turns: Iterable[Turn]) -> str:
    """All system turns as one text: wires with a field for it have only one."""
    return "\n\n".join(turn.text for turn in turns if turn.role == "system" and turn.text)


def names_of_calls(turns: Iterable[Turn]) -> dict[str, str]:
    """Tool name by tool call id."""
    return {call.id: call.name for turn in turns for call in turn.tool_calls}


def tools_of(extras: JsonObject) -> tuple[Tool, ...]:
    """The functions offered. Raises NotSent for tools that are not functions."""
    offered = extras.get("tools") or ()
    if not isinstance(offered, list | tuple):
        raise cannot_encode("tools must be a list")
    return tuple(_tool(tool) for tool in offered)


def stop_of(extras: JsonObject) -> list[str]:
    """The stop sequences, as a list whatever they were."""
    stop = extras.get("stop")
    if stop is None:
        return []
    return [stop] if isinstance(stop, str) else list(stop)


def forced_tool(choice: Any) -> str | None:
    """The name in a `tool_choice` that forces one function."""
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def schema_of(request: Request) -> JsonObject | None:
    """The JSON schema the answer must fit, where one is given."""
    wanted = request.response_format or {}
    described = wanted.get("json_schema") if wanted.get("type") == "json_schema" else None
    schema = described.get("schema") if isinstance(described, Mapping) else None
    return schema if isinstance(schema, Mapping) else None


def sampling_of(
    model: ModelSpec, provider: ProviderSpec, request: Request
) -> tuple[dict[str, Any], list[str]]:
    """What may be sent of temperature and the extras, and a warning for each that may not.

    Fields that could cost more than the reserved worst case never pass.
    """
    given: dict[str, Any] = dict(request.extras)
    if request.temperature is not None:
        given["temperature"] = request.temperature
    warnings = []
    for name in list(given):
        reason = _why_not(name, given[name], model, provider)
        if reason:
            del given[name]
            warnings.append(f"{name} was left out: {reason}")
    return given, warnings


def unknown_to(wire: str, given: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """A warning for each given field that a wire has no word for."""
    rest = sorted(set(given) - set(known))
    return [f"{name} was left out: {wire} has no such parameter" for name in rest]


def dump(body: JsonObject) -> bytes:
    """The body's bytes. Raises NotSent for what JSON cannot hold."""
    try:
        # Copied, since it is kept during the call, and orjson leaves its bytes in the room that it
        # wrote them in: 4 kB for 300 of them, 130 kB for 9,000.
        return b"%b" % orjson.dumps(body)
    except TypeError as error:
        raise cannot_encode("the request is no valid JSON") from error


def _why_not(name: str, value: Any, model: ModelSpec, provider: ProviderSpec) -> str | None:
    if name in UNSENDABLE:
        return "it is not the caller's to set"
    if name in provider.drop_params:
        return f"{provider.name} refuses it"
    if name == "service_tier" and value not in _PRICED_AS_LISTED:
        return "its price is not the listed one"
    if name in ("temperature", "top_p") and "temperature" not in model.capabilities:
        return f"{model.name} refuses it"
    return None


def _turn(message: JsonObject) -> Turn:
    role = _ROLES.get(str(message.get("role")))
    if role is None:
        raise cannot_encode(f"unknown role {str(message.get('role'))[:40]!r}")
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, list | tuple):
        raise cannot_encode("tool_calls must be a list")
    return Turn(
        role,
        "\n".join(texts_of(message.get("content"))),
        tuple(_call(call) for call in calls),
        str(message.get("tool_call_id") or message.get("name") or ""),
    )


def texts_of(content: Any) -> Iterator[str]:
    """The texts of a content. Raises NotSent for parts that are no text."""
    if isinstance(content, str):
        yield content
        return
    for part in content if isinstance(content, list | tuple) else ():
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get(_TEXT_PARTS[kind]) if kind in _TEXT_PARTS else None
        if not isinstance(text, str):
            raise cannot_encode(f"only text can be sent, not a part of type {str(kind)[:40]!r}")
        yield text


def _call(call: Any) -> ToolCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise cannot_encode("a tool call without a function name")
    return ToolCall(
        str(call.get("id") or ""), function["name"], str(function.get("arguments") or "")
    )


def _tool(tool: Any) -> Tool:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise cannot_encode("only tools of type function can be offered")
    parameters = function.get("parameters")
    return Tool(
        function["name"],
        function.get("description"),
        parameters if isinstance(parameters, Mapping) else {"type": "object", "properties": {}},
        function.get("strict"),
    )
