r"""Prompt templates: texts with variables, and what becomes of them with values. Pure.

A variable is `{{ name }}`: letters, digits, `_`, `-`, `.` and spaces inside. There is nothing else
to it, neither code nor filters nor loops, so a template cannot do more than hold text, and a value
is never read for variables itself. `\{{` is a literal `{{`; any other `{{` is refused.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from producer.intake.refusal import Refusal

NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REFERENCE: Final = re.compile(r"([A-Za-z0-9_.-]{1,64})(?:@([1-9][0-9]{0,8}))?")
_MARK: Final = re.compile(r"\\\{\{|\{\{(?:\s*(\w(?:[\w .-]{0,62}[\w.-])?)\s*\}\})?")
_TEXT_FIELDS: Final = ("prompt", "messages")
_NOT_IN_TEMPLATES: Final = ("custom_id", "template", "vars")

_Piece = tuple[str, bool]
"""A text, and whether it is a variable's name."""


@dataclass(frozen=True, slots=True)
class Template:
    """A native line's fields whose texts hold variables.

    reference: "name@version"; None for one that is written where it is used.
    """

    fields: Mapping[str, Any]
    variables: tuple[str, ...]
    reference: str | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any], reference: str | None = None) -> "Template":
        """The template of fields that were checked."""
        names = (text for each in _texts(fields) for text, named in _pieces(each) if named)
        return cls(fields, tuple(dict.fromkeys(names)), reference)

    def line(self, values: Mapping[str, Any], most_bytes: int) -> dict[str, Any]:
        """The fields with the values in their places; raises Refusal for a missing one, or where
        the texts would have more than `most_bytes` (which is known before they are made).
        """
        texts = {name: self._value(name, values) for name in self.variables}
        sizes = {name: len(text.encode()) for name, text in texts.items()}
        pieces = [piece for text in _texts(self.fields) for piece in _pieces(text)]
        size = sum(sizes[text] if named else len(text.encode()) for text, named in pieces)
        if size > most_bytes:
            raise Refusal(
                "line_too_long",
                "vars",
                f"with its values the template has more than {most_bytes} bytes: shorten them, "
                "or raise PROMPTMILL_MAX_LINE_BYTES",
            )
        return _changed(
            self.fields,
            lambda text: "".join(texts[t] if named else t for t, named in _pieces(text)),
        )

    def _value(self, name: str, values: Mapping[str, Any]) -> str:
        value = values.get(name)
        if value is None:
            known = f"the template {self.reference}" if self.reference else "the template"
            raise Refusal(
                "missing_variable", f"vars.{name}", f"{known} needs a value for {name!r}: give one"
            )
        return value if isinstance(value, str) else orjson.dumps(value).decode()


Templates = Callable[[str], Template]
"""Finds a template by `name` (its newest version) or `name@version`; raises Refusal."""


def parse_template(
    raw: object, known_fields: Collection[str], at: str = "template", reference: str | None = None
) -> Template:
    """A prompt's text, or the fields of a native line with a prompt or messages; raises Refusal."""
    given: object = {"prompt": raw} if isinstance(raw, str) else raw
    if not isinstance(given, dict):
        raise Refusal("invalid_type", at, "must be a text, or an object with prompt or messages")
    for name in given:
        if name not in known_fields or name in _NOT_IN_TEMPLATES:
            raise Refusal("unknown_parameter", f"{at}.{name[:64]}", "a template has no such field")
    if (given.get("prompt") is None) == (given.get("messages") is None):
        message = "give prompt or messages, one of them"
        raise Refusal("missing_required_parameter", f"{at}.prompt", message)
    if not isinstance(given.get("prompt", ""), str):
        raise Refusal("invalid_type", f"{at}.prompt", "must be a string")
    for text in _texts(given):
        _check_marks(text, at)
    return Template.of(given, reference)


def read_reference(text: str, at: str = "template") -> tuple[str, int | None]:
    """The name and the version (None: the newest) in `name` or `name@3`; raises Refusal."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise Refusal(
            "invalid_value", at, "a template is named by letters, digits, '_', '.', '-', then @3"
        )
    return match[1], int(match[2]) if match[2] else None


def no_templates(_reference: str) -> Template:
    """Where no templates are kept: only those that a line holds itself can be used."""
    raise Refusal("template_not_found", "template", "named templates need a running Promptmill")


def filled(
    raw: Mapping[str, Any], templates: Templates, known_fields: Collection[str], most_bytes: int
) -> tuple[dict[str, Any], str | None]:
    """A native line with `template` and `vars` as one without: what the line says itself goes
    before what the template says. With the template's reference, where it has one.
    """
    wanted, values = raw.get("template"), raw.get("vars")
    for name in _TEXT_FIELDS:
        if raw.get(name) is not None:
            raise Refusal("template_and_prompt", name, f"give a template or {name}, not both")
    if wanted is None:
        message = "vars are for a template: name one"
        raise Refusal("missing_required_parameter", "template", message)
    if values is not None and not isinstance(values, dict):
        raise Refusal("invalid_type", "vars", "must be an object of values by name")
    template = (
        templates(wanted) if isinstance(wanted, str) else parse_template(wanted, known_fields)
    )
    own = {name: value for name, value in raw.items() if name not in ("template", "vars")}
    return {**template.line(values or {}, most_bytes), **own}, template.reference


def _pieces(text: str) -> Iterator[_Piece]:
    """The text in pieces; what is no variable is text."""
    end = 0
    for mark in _MARK.finditer(text):
        yield text[end : mark.start()], False
        yield (mark[1], True) if mark[1] else ("{{", False)
        end = mark.end()
    yield text[end:], False


def _check_marks(text: str, at: str) -> None:
    for mark in _MARK.finditer(text):
        if mark[0] == "{{":
            raise Refusal(
                "invalid_template",
                at,
                f"at character {mark.start() + 1} begins no variable: write {{{{ name }}}}, "
                r"or \{{ for the two braces themselves",
            )


def _texts(fields: Mapping[str, Any]) -> list[str]:
    texts: list[str] = []

    def seen(text: str) -> str:
        texts.append(text)
        return text

    _changed(fields, seen)
    return texts


def _changed(fields: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The fields with their prompt's or messages' texts changed; what has no text stays."""
    changed = dict(fields)
    if isinstance(fields.get("prompt"), str):
        changed["prompt"] = change(fields["prompt"])
    if isinstance(fields.get("messages"), list):
        changed["messages"] = [_changed_message(message, change) for message in fields["messages"]]
    return changed


def _changed_message(message: Any, change: Callable[[str], str]) -> Any:
    if not isinstance(message, dict):
        return message
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": change(content)}
    if isinstance(content, list):
        return {**message, "content": [_changed_part(part, change) for part in content]}
    return message


def _changed_part(part: Any, change: Callable[[str], str]) -> Any:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return {**part, "text": change(part["text"])}
    return part
