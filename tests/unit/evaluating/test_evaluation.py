"""Recorded outcomes: how lines are read, answers compared, curves measured, and policies told."""

import gzip
import json
import random
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from producer.cli.main import app
from producer.evaluating.frontier import Case, curve
from producer.evaluating.outcomes import read_outcomes, with_answers, with_costs
from producer.evaluating.plot import frontier_svg
from producer.evaluating.replay import Cast, cast, evaluate
from shared.deciding.classification.trained import TrainedClassifier
from shared.deciding.comparing import answer_key
from shared.errors import UsageError

CLASSIFIER = TrainedClassifier()
# Where small and peer agree, small is right; where they differ, large is.
SUMS: list[dict[str, Any]] = [
    {
        "id": n,
        "prompt": f"What is {n} + {n}?",
        "models": {
            "small": {"score": right, "answer": str(2 * n if right else n), "cost_usd": "0.001"},
            "peer": {"score": 1, "answer": f"The answer is {2 * n}.", "cost_nusd": 1_000_000},
            "large": {"score": 1, "answer": str(2 * n), "cost_usd": 0.01},
        },
    }
    for n, right in enumerate([1, 1, 1, 0, 1, 0, 1, 1, 1, 1], 1)
]
CAST = Cast("small", "large", ("peer",))


def lines(rows: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def told(rows: list[dict[str, Any]], who: Cast, target: float = 0.95) -> dict[str, Any]:
    return evaluate(read_outcomes(lines(rows)), who, CLASSIFIER, target)


def policy(found: dict[str, Any], name: str) -> Any:
    return next(row for row in found["policies"] if row["policy"] == name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("so it is 7. The answer is (B).", "B"),
        ("The answer is 1,200 dollars", "1200.0"),
        (r"thus \boxed{42}", "Answer: 42"),
        ('{"a": 1, "b": 2}', '{"b":2,"a":1}'),
        ("Paris.", " paris"),
        ("He has 3 apples and 4 pears, so he has altogether, as was to be found, #### 7", "7"),
        ("**Answer:** C", "The correct answer is C."),
    ],
)
def test_answers_that_say_the_same_have_one_key(one: str, other: str) -> None:
    assert answer_key(one) == answer_key(other) is not None


@pytest.mark.parametrize(("one", "other"), [("7", "8"), ("A", "B"), ("yes", "no"), ("-3", "3")])
def test_answers_that_differ_have_two_keys(one: str, other: str) -> None:
    assert answer_key(one) != answer_key(other)


def test_an_open_text_has_no_key() -> None:
    assert (
        answer_key("The mill stood by the river, and nobody remembered who had built it. ") is None
    )
    assert answer_key("  ") is None


@given(st.text(max_size=200))
def test_any_answer_has_a_key_or_none(text: str) -> None:
    assert answer_key(text) == answer_key(text)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"{", "line 2"),
        (b'{"scores": {"a": 1}}', "line 2: prompt"),
        (b'{"prompt": "x", "scores": {"a": 3}}', "line 2: scores.a"),
        (b'{"prompt": "x", "models": {"a": {"score": 1, "cost_nusd": -1}}}', "cost_nusd"),
        (b'{"prompt": "x"}', "names a model"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number_and_field(line: bytes, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        read_outcomes([*lines(SUMS[:1]), line])


def test_short_lines_say_the_same_as_long_ones() -> None:
    (short,) = read_outcomes(
        lines(
            [
                {
                    "id": "q",
                    "prompt": "x",
                    "scores": {"a": 1},
                    "answers": {"a": "4"},
                    "costs_usd": {"a": "0.5"},
                }
            ]
        )
    )
    (long,) = read_outcomes(
        lines(
            [
                {
                    "id": "q",
                    "prompt": "x",
                    "models": {"a": {"score": 1, "answer": "4", "cost_nusd": 500_000_000}},
                }
            ]
        )
    )
    assert short == long


def test_answers_and_costs_are_joined_from_elsewhere() -> None:
    bare = read_outcomes(lines([{"id": 1, "prompt": "x", "scores": {"a": 1, "b": 0}}]))
    given_ = lines([{"id": 1, "model": "a", "response": "long talk", "parsed": "C"}])
    (full,) = with_costs(with_answers(bare, given_), {"b": "0.25"})
    assert full.models["a"].answer_key == "C"
    assert full.models["a"].is_answered
    assert full.models["a"].cost_nusd is None
    assert full.models["b"].cost_nusd == 250_000_000
    assert not full.models["b"].is_answered


CASES = st.lists(
    st.builds(
        Case,
        weak=st.sampled_from([0.0, 0.5, 1.0]),
        strong=st.sampled_from([0.0, 0.5, 1.0]),
        stay_nusd=st.integers(0, 10),
        climb_nusd=st.integers(10, 100),
    ),
    min_size=1,
    max_size=30,
)


@given(CASES, st.randoms(use_true_random=False))
def test_no_order_beats_the_oracle_and_all_end_where_the_models_are(
    cases: list[Case], chance: Any
) -> None:
    some = curve(cases, [chance.random() for _ in cases])
    oracle = curve(cases, [case.strong - case.weak for case in cases])
    assert some.points[0] == oracle.points[0]
    assert some.points[-1].quality == pytest.approx(oracle.points[-1].quality)
    assert some.points[-1].cost_nusd == sum(case.climb_nusd for case in cases)
    if some.apgr is not None:
        assert oracle.apgr is not None
        assert some.apgr <= oracle.apgr + 1e-9


def test_an_order_that_knows_nothing_recovers_half_the_gap() -> None:
    cases = [Case(n % 2, 1, 1, 10) for n in range(20)]
    blind = curve(cases, [0.0] * 20)
    assert blind.apgr == pytest.approx(0.5)
    assert blind.call_share(0.8) == pytest.approx(0.8)
    perfect = curve(cases, [1.0 - n % 2 for n in range(20)])
    assert perfect.call_share(0.5) == pytest.approx(0.25)


def test_agreement_reaches_the_target_and_pays_for_every_call() -> None:
    found = told(SUMS, CAST)
    row = policy(found, "agreement")
    # ten small, ten peers, two large: 10 x 0.001 + 10 x 0.001 + 2 x 0.01 USD
    assert row["as_set"] == {
        "strong_share": 0.2,
        "quality": 1.0,
        "cost_nusd": 40_000_000,
        "cost_usd": "0.04",
    }
    assert row["cpt_50"] == pytest.approx(0.1)
    assert row["apgr"] > policy(found, "random")["apgr"] == 0.5
    assert row["at_target"]["cost_nusd"] < policy(found, "random")["at_target"]["cost_nusd"]


def test_the_chosen_cascade_is_told_by_prompts_it_was_not_chosen_by() -> None:
    chance = random.Random(3)
    rows = []
    for n in range(600):
        is_easy = chance.random() < 0.7
        said = {
            name: str(n) if is_easy or chance.random() < skill else f"wrong {chance.random()}"
            for name, skill in (("small", 0.1), ("peer", 0.1), ("large", 0.95))
        }
        costs = {"small": 1_000, "peer": 1_500, "large": 40_000}
        models = {
            name: {"score": float(text == str(n)), "answer": text, "cost_nusd": costs[name]}
            for name, text in said.items()
        }
        rows.append({"id": n, "prompt": f"Which number follows {n - 1}?", "models": models})
    cascade, by_prompt, blind = told(rows, Cast("small", "large"))["chosen"]

    # Where the two agree they are right, so a third of the calls of the large one is enough.
    assert cascade["of_strong_cost"] < 0.45
    assert blind["of_strong_cost"] > 0.75
    assert by_prompt["of_strong_cost"] > 0.7
    assert cascade["above_target"] + cascade["error_95"] > 0
    assert cascade["ways"][0]["asked"] == ["small", "peer"]
    assert cascade["ways"][1]["way"] == "small -> peer -> large, answer of large"
    assert cascade["calls"]["large"] == pytest.approx(0.25, abs=0.1)


def test_few_prompts_or_no_costs_choose_nothing() -> None:
    assert told(SUMS, Cast("small", "large"))["chosen"] == []


def test_the_baselines_name_the_best_the_cheapest_and_the_best_cheap_model() -> None:
    found = told(SUMS, Cast("small", "large"))
    assert found["baselines"] == {
        "best_single": "peer",
        "cheapest": "peer",
        "best_single_cheap": "peer",
    }
    assert [row["model"] for row in found["singles"]] == ["peer", "large", "small"]


def test_without_costs_only_shares_are_told() -> None:
    rows = [{"prompt": f"p{n}", "scores": {"small": n % 2, "large": 1}} for n in range(4)]
    found = told(rows, Cast("small", "large"))
    assert not found["is_priced"]
    assert policy(found, "oracle")["at_target"]["cost_nusd"] is None
    assert policy(found, "oracle")["cpt_80"] == pytest.approx(0.4)


def test_prompts_without_an_answer_to_compare_are_left_out_and_counted() -> None:
    silent = {"id": "s", "prompt": "x", "scores": {"small": 0, "peer": 1, "large": 1}}
    assert told([*SUMS, silent], CAST)["left_out"] == 1
    with pytest.raises(UsageError, match="no prompt has answers"):
        told([silent], CAST)


def test_the_cast_is_chosen_by_quality_and_cost_or_asked_for() -> None:
    outcomes = read_outcomes(lines(SUMS))
    assert cast(outcomes, None, "large", []).weak == "peer"
    assert cast(outcomes, "small", "large", ["peer"]) == CAST
    with pytest.raises(UsageError, match="nobody"):
        cast(outcomes, "nobody", None, [])
    with pytest.raises(UsageError, match="a peer is neither"):
        cast(outcomes, "small", "large", ["small"])
    free = read_outcomes(lines([{"prompt": "x", "scores": {"a": 0, "b": 1}}]))
    with pytest.raises(UsageError, match="--weak"):
        cast(free, None, None, [])


def test_the_drawing_has_a_line_for_each_policy_and_a_dot_for_each_model() -> None:
    root = ET.fromstring(frontier_svg(told(SUMS, CAST)))  # noqa: S314 - our own
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{name}polyline")) == 7
    assert len(root.findall(f"{name}circle")) == 3


def test_the_command_reads_gzip_joins_answers_and_writes_the_drawing(tmp_path: Path) -> None:
    file, answers, drawing = (tmp_path / name for name in ("o.jsonl.gz", "a.jsonl", "f.svg"))
    rows = [{"id": n, "prompt": f"p{n}", "scores": {"s": n % 2, "l": 1, "p": 1}} for n in range(6)]
    file.write_bytes(gzip.compress(b"\n".join(lines(rows))))
    said = [
        {"id": n, "model": model, "parsed": "A" if model == "p" or n % 2 else "B"}
        for n in range(6)
        for model in "sp"
    ]
    answers.write_bytes(b"\n".join(lines(said)))
    names = ["--weak", "s", "--strong", "l", "--peer", "p", "--responses", str(answers)]
    costs = [option for name in "slp" for option in ("--cost", f"{name}=0.5")]
    arguments = ["evaluate", str(file), *names, *costs, "--plot", str(drawing)]
    plain = CliRunner().invoke(app, arguments)
    assert plain.exit_code == 0, plain.output
    assert "agreement" in plain.stdout
    assert drawing.read_text("utf-8").startswith("<svg")
    told_ = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert policy(told_, "agreement")["as_set"]["quality"] == 1.0
    assert CliRunner().invoke(app, ["evaluate", str(file), "--cost", "s"]).exit_code == 2
