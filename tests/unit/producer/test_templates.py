"""Templates: what a text with variables becomes, and what is refused with which code."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.intake import IntakeLimits, RejectedLine, ValidLine, read_lines
from producer.intake.lines import read_template
from producer.intake.refusal import Refusal
from producer.intake.templates import Template, read_reference

MODELS = ("gpt-5.6-luna",)
SHELF = {
    "greet@1": read_template("Say hello to {{ name }}.", MODELS, "greet@1"),
    "greet": read_template(
        {"prompt": "Greet {{name}} in {{ tongue }}.", "model": "mid", "max_tokens": 50},
        MODELS,
        "greet@2",
    ),
}


def find(reference: str) -> Template:
    if reference not in SHELF:
        raise Refusal("template_not_found", "template", "there is none")
    return SHELF[reference]


def one(line: dict[str, Any], limit: int = 4096) -> ValidLine | RejectedLine:
    content = json.dumps(line).encode()
    (read,) = read_lines(io.BytesIO(content), IntakeLimits(limit), MODELS, find)
    return read


def request(line: dict[str, Any], limit: int = 4096) -> Any:
    read = one(line, limit)
    assert isinstance(read, ValidLine), read
    return read.request


def refused(line: dict[str, Any], limit: int = 4096) -> tuple[str, str | None]:
    read = one(line, limit)
    assert isinstance(read, RejectedLine), read
    return read.code, read.field


def text(prompt: str, **values: object) -> str:
    return str(request({"template": {"prompt": prompt}, "vars": values}).last_user_text)


def test_a_line_takes_text_and_defaults_from_its_template_and_keeps_which_version_it_was():
    made = request({"template": "greet", "vars": {"name": "Ada", "tongue": "Latin"}})
    assert made.last_user_text == "Greet Ada in Latin."
    assert (made.model, made.max_tokens, made.template) == ("mid", 50, "greet@2")
    assert type(made).from_json(made.to_json()) == made


def test_what_a_line_says_itself_goes_before_its_template():
    line = {"template": "greet", "vars": {"name": "A", "tongue": "B"}, "model": "auto"}
    made = request(line | {"temperature": 0.5, "custom_id": "x"})
    assert (made.model, made.max_tokens, made.temperature) == ("auto", 50, 0.5)


def test_an_older_version_is_named_by_its_number():
    made = request({"template": "greet@1", "vars": {"name": "Ada"}})
    assert (made.last_user_text, made.template) == ("Say hello to Ada.", "greet@1")


def test_a_template_may_stand_in_the_line_and_have_messages():
    system = {"role": "system", "content": "You are {{ who }}."}
    parts = [{"type": "text", "text": "{{ n }} and {{ n }}"}]
    made = request(
        {
            "template": {"messages": [system, {"role": "user", "content": parts}]},
            "vars": {"who": "a poet", "n": 3},
        }
    )
    assert made.messages[0]["content"] == "You are a poet."
    assert made.last_user_text == "3 and 3"
    assert made.template is None


def test_values_are_written_as_they_are_and_never_read_for_variables():
    assert text("{{ a }} {{ b }}", a="{{ b }} \\1 \\{{", b=[1, "x"]) == '{{ b }} \\1 \\{{ [1,"x"]'
    assert text(r"\{{ a }} is {{a}}", a=True) == "{{ a }} is true"
    assert text("{{ First Name }}, {{ größe }}", **{"First Name": "Ada", "größe": 1.5}) == (
        "Ada, 1.5"
    )


@pytest.mark.parametrize(
    ("line", "code", "field"),
    [
        ({"template": "greet", "vars": {"name": "A"}}, "missing_variable", "vars.tongue"),
        ({"template": "greet@1", "vars": {"name": None}}, "missing_variable", "vars.name"),
        ({"template": "greet@1"}, "missing_variable", "vars.name"),
        ({"template": "nothing", "vars": {}}, "template_not_found", "template"),
        ({"template": "greet@9", "vars": {}}, "template_not_found", "template"),
        ({"vars": {"a": 1}}, "missing_required_parameter", "template"),
        ({"template": "greet", "vars": ["a"]}, "invalid_type", "vars"),
        ({"template": 7, "vars": {}}, "invalid_type", "template"),
        ({"template": "greet", "prompt": "a"}, "template_and_prompt", "prompt"),
        ({"template": {"model": "mid"}}, "missing_required_parameter", "template.prompt"),
        ({"template": {"prompt": "a", "vars": {}}}, "unknown_parameter", "template.vars"),
        ({"template": {"prompt": "{{ }}"}}, "invalid_template", "template"),
        ({"template": {"prompt": "{{ a | upper }}"}}, "invalid_template", "template"),
        ({"template": {"prompt": "{{ a"}}, "invalid_template", "template"),
        ({"template": {"prompt": 5}}, "invalid_type", "template.prompt"),
        ({"template": {"messages": [5]}}, "invalid_type", "messages[0]"),
        ({"template": {"prompt": "a", "model": "gpt-99"}}, "model_not_found", "model"),
        ({"template": {"prompt": "{{ a }}"}, "vars": {"a": " "}}, "invalid_value", "prompt"),
    ],
)
def test_what_is_wrong_with_a_template_or_its_values_is_named(
    line: dict[str, Any], code: str, field: str
):
    assert refused(line | {"custom_id": "me"}) == (code, field)
    assert one(line | {"custom_id": "me"}).custom_id == "me"


def test_a_huge_rendering_is_refused_before_it_is_made():
    template = {"prompt": "{{ a }}" * 300}
    line = {"template": template, "vars": {"a": "x" * 1000}}
    assert refused(line, limit=4096) == ("line_too_long", "vars")
    fits = {"template": {"prompt": "{{ a }}{{ a }}"}, "vars": {"a": "x" * 90}}
    assert request(fits, limit=180).last_user_text == "x" * 180
    assert refused(fits, limit=179) == ("line_too_long", "vars")


def test_openai_lines_have_no_templates():
    body = {"model": "auto", "messages": [{"role": "user", "content": "a"}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    assert refused(line | {"template": "greet"}) == ("unknown_parameter", "template")


def test_a_named_template_needs_somebody_who_keeps_templates():
    (line,) = read_lines(io.BytesIO(b'{"template": "greet"}'), IntakeLimits(), MODELS)
    assert isinstance(line, RejectedLine)
    assert line.code == "template_not_found"


@pytest.mark.parametrize("reference", ["", "a b", "a@", "a@0", "a@x", "@1", "a" * 65, "a@1@2"])
def test_what_is_no_reference_is_refused(reference: str):
    with pytest.raises(Refusal):
        read_reference(reference)


@given(before=st.text(), value=st.text(), after=st.text())
def test_any_text_is_kept_to_the_letter_around_and_in_a_variable(
    before: str, value: str, after: str
):
    literal = [part.replace("{{", r"\{{") for part in (before, after)]
    if any(part.endswith("{") or part.startswith("{") for part in (before, after)):
        return  # a brace beside the mark makes another mark of it
    if before.endswith("\\"):
        return  # so does a backslash before it
    template = read_template("x" + literal[0] + "{{ a }}" + literal[1], ())
    made = template.line({"a": value}, 1_000_000)
    assert made["prompt"] == "x" + before + value + after
