"""Recorded outcomes are read in the shapes in which people keep them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from producer.cli.main import app
from producer.evaluating.outcomes import complete, only_models, read_outcomes, with_prices
from shared.errors import UsageError

WANTED = {"a": (1.0, "42", 500_000_000), "b": (0.0, "41", 1_000_000)}
SHAPES: dict[str, list[dict[str, Any]]] = {
    "objects": [
        {"id": "q", "prompt": "x", "models": {
            "a": {"correct": True, "response": "So #### 42", "cost": 0.5},
            "b": {"is_correct": 0, "output": 41, "cost_nusd": 1_000_000}}},
    ],
    "a list": [
        {"question_id": 7, "question": "x", "results": [
            {"model": "a", "passed": True, "completion": "The answer is 42.", "cost_usd": "0.5"},
            {"name": "b", "quality": 0, "prediction": "41", "total_cost": 0.001}]},
    ],
    "columns": [
        {"messages": [{"role": "user", "content": "x"}], "correct": {"a": True, "b": False},
         "responses": {"a": "\\boxed{42}", "b": "41"}, "costs": {"a": 0.5, "b": "0.001"}},
    ],
    "flat columns": [
        {"sample_id": "q", "prompt": "x", "a": 1.0, "b": 0.0, "a|model_response": "42",
         "b|model_response": "41", "a|total_cost": 0.5, "b|total_cost": 0.001},
    ],
    "a line for each": [
        {"id": 1, "prompt": "x", "model": "a", "score": 1, "answer": "42", "cost": 0.5},
        {"id": 1, "model": "b", "correct": 0, "response": "41", "cost_usd": 0.001},
    ],
    "the right answer told": [
        {"id": 1, "prompt": "x", "gold": "6 * 7 = 42 #### 42",
         "answers": {"a": "It is \\boxed{42.0}", "b": "41"}, "cost_nusd": {"a": 500_000_000,
                                                                          "b": 1_000_000}},
    ],
}  # fmt: skip


def lines(rows: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_says_the_same(shape: str):
    (outcome,) = read_outcomes(lines(SHAPES[shape]))
    assert outcome.prompt == "x"
    told = {n: (m.score, m.answer_key, m.cost_nusd) for n, m in outcome.models.items()}
    assert told == WANTED
    # A file that is one array says what its rows say.
    assert read_outcomes(json.dumps(SHAPES[shape], indent=1).encode().splitlines())[0] == outcome


def test_lines_of_several_files_are_joined_by_id():
    scores = lines([{"id": "q", "prompt": "x", "scores": {"a": 1, "b": 0}}])
    answers = lines(
        [{"id": "q", "model": "a", "response": "42", "parsed": "42.0", "correct": 1, "source": "s"}]
    )
    (outcome,) = read_outcomes(scores, answers)
    assert (outcome.models["a"].answer_key, outcome.models["a"].score) == ("42", 1.0)
    other = lines([{"id": "q", "prompt": "another", "scores": {"a": 1}}])
    with pytest.raises(UsageError, match=r"other.jsonl: line 1: id: .* to another prompt"):
        read_outcomes(scores, other, names=("scores.jsonl", "other.jsonl"))


def test_further_answers_of_a_model_are_models_of_their_own():
    listed = {
        "prompt": "x",
        "scores": {"a": [1, 0], "b": 1},
        "answers": {"a": ["4", "5"], "b": "4"},
    }
    repeated = [
        {"id": 1, "prompt": "x", "model": "a", "score": 1, "answer": "4"},
        {"id": 1, "model": "a", "score": 0, "answer": "5"},
        {"id": 1, "model": "b", "score": 1, "answer": "4"},
    ]
    for rows in ([listed], repeated):
        (outcome,) = read_outcomes(lines(rows))
        assert {n: m.answer_key for n, m in outcome.models.items()} == {
            "a": "4", "a (2)": "5", "b": "4",
        }  # fmt: skip
    wrong = {"prompt": "x", "scores": {"a": [1, 0]}, "answers": {"a": ["4"]}}
    with pytest.raises(UsageError, match=r"line 1: .*different lengths"):
        read_outcomes(lines([wrong]))


def test_tokens_are_priced_where_no_cost_is_told():
    said = {"score": 1, "usage": {"prompt_tokens": 1000, "completion_tokens": 500}}
    (priced,) = with_prices(
        read_outcomes(lines([{"prompt": "x", "models": {"a": said, "b": {"score": 1}}}])),
        lambda _, tokens: tokens[0] + 4 * tokens[1],
    )
    assert (priced.models["a"].cost_nusd, priced.models["b"].cost_nusd) == (3000, None)


def test_who_was_recorded_too_rarely_takes_no_part_and_gaps_are_left_out():
    rows = [{"id": n, "prompt": f"p{n}", "scores": {"a": 1, "b": 0}} for n in range(20)]
    rows[3]["scores"] = {"a": 1, "b": 0, "c": 1}
    rows[4]["scores"] = {"a": 1}
    kept, incomplete, rare = complete(read_outcomes(lines(rows)))
    assert (len(kept), incomplete, rare) == (19, 1, ["c"])
    assert {name for outcome in kept for name in outcome.models} == {"a", "b"}
    with pytest.raises(UsageError, match="'d'"):
        only_models(kept, ["a", "d"])


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"[1]", "line 1: not an object"),
        (b'{"id": {}, "prompt": "x", "scores": {"a": 1}}', "line 1: id"),
        (b'{"prompt": 3, "scores": {"a": 1}}', "line 1: prompt"),
        (b'{"prompt": "x", "models": [{"score": 1}]}', "line 1: models.0.model"),
        (b'{"prompt": "x", "costs": {"a": -1}, "scores": {"a": 1}}', "line 1: costs_usd.a"),
        (b'{"prompt": "x", "model": "a", "score": "good"}', "line 1: score"),
        (b'{"prompt": "x", "model": "a", "answer": "4"}', "no prompt with a score"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(line: bytes, named: str):
    with pytest.raises(UsageError, match=named):
        read_outcomes([line])


def test_the_command_prices_tokens_and_takes_several_files(tmp_path: Path):
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    rows = [
        {"id": n, "prompt": f"What is {n} + {n}?", "model": name, "score": score, "answer": str(n),
         "input_tokens": 100, "output_tokens": 10}
        for name, score in (("s", 0), ("l", 1)) for n in range(4)
    ]  # fmt: skip
    one.write_bytes(b"\n".join(lines(rows[:4])))
    other.write_bytes(b"\n".join(lines(rows[4:])))
    arguments = ["evaluate", str(one), str(other), "--cost", "s=0.5/1", "--cost", "l=5/10"]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    costs = {row["model"]: row["cost_nusd"] for row in json.loads(done.stdout)["singles"]}
    assert costs == {"s": 4 * 60_000, "l": 4 * 600_000}
    assert CliRunner().invoke(app, [*arguments, "--cost", "l=5/much"]).exit_code == 2
