import ast
from pathlib import Path

import pytest

from simulator import code_answers
from simulator.answers import looks_hard
from simulator.arithmetic import work_out
from simulator.json_answers import SchemaError, fitting_object
from simulator.scenario import read_scenario

DEMO = Path(__file__).parents[3] / "simulator" / "scenarios" / "demo.toml"


@pytest.mark.parametrize(
    ("prompt", "value"),
    [
        ("What is 17*23?", "391"),
        ("What is 3 times 4 plus 2?", "14"),
        ("Calculate (2 + 3) * 4", "20"),
        ("What is 15% of 80?", "12"),
        ("1,000 + 1", "1001"),
        ("What is 10 divided by 4?", "2.5"),
        ("What is 7 \u00d7 8?", "56"),
        ("What is 2 - -3?", "5"),
        ("What is 1/0?", None),
        ("What happened on 2026-11-20?", None),
        ("Tell a joke in 2-3 sentences please, for children of five", None),
    ],
)
def test_simple_sums_are_worked_out_and_other_numbers_left_alone(prompt: str, value: str | None):
    assert work_out(prompt) == value


def test_every_known_function_parses_and_its_broken_twin_does_not():
    for word in (*code_answers._KNOWN, "something else"):
        prompt = f"write a {word} function"
        ast.parse(_code(code_answers.code_for(prompt, 1)))
        with pytest.raises(SyntaxError):
            ast.parse(_code(code_answers.broken_code(prompt, 1)))


def _code(answer: str) -> str:
    return answer.split("```python\n")[1].split("```", maxsplit=1)[0]


def test_a_schema_that_refers_to_itself_ends():
    schema = {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"next": {"$ref": "#/$defs/node"}},
                "required": [],
            }
        },
    }
    assert fitting_object(schema, "", 1).startswith('{"next":')
    with pytest.raises(SchemaError):
        fitting_object({"type": "array", "minItems": "many"}, "", 1)


def test_the_demo_has_weak_cheap_models_a_few_rate_limits_and_one_outage():
    demo = read_scenario(DEMO)
    outages = [rule.times for rule in demo.rules if rule.fault == "503"]
    assert outages == [1]
    weak = next(rule for rule in demo.rules if rule.fault == "weak")
    assert weak.match.hard
    assert 0 < weak.share < 1_000_000


def test_hard_prompts_are_told_from_easy_ones():
    assert looks_hard("Prove that there are infinitely many primes")
    assert not looks_hard("What is the capital of France?")
