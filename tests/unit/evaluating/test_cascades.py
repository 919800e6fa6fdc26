"""The chosen cascade: near the cheapest there is, cheaper than what has to be beaten, on made-up
sets of the kinds that models are compared by.
"""

import json
from itertools import permutations
from typing import Any

import pytest

from producer.evaluating.outcomes import Outcome, read_outcomes
from producer.evaluating.replay import cast, evaluate
from shared.deciding.classification.trained import TrainedClassifier
from tests.unit.evaluating.recorded import HARDER_PLAYERS, PLAYERS, recorded

CLASSIFIER = TrainedClassifier()


def outcomes_of(kind: str, rows: int, seed: int = 1) -> list[Outcome]:
    players = HARDER_PLAYERS if kind == "choices" else PLAYERS
    return read_outcomes(json.dumps(row).encode() for row in recorded(kind, rows, players, seed))


def told_of(outcomes: list[Outcome]) -> dict[str, Any]:
    return evaluate(outcomes, cast(outcomes, None, None, []), CLASSIFIER, 0.95)


@pytest.mark.parametrize(
    ("kind", "rows", "most"),
    [("sums", 400, 0.25), ("code", 400, 0.3), ("choices", 400, 0.85)],
)
def test_the_cascade_reaches_the_target_for_less_than_every_baseline(
    kind: str, rows: int, most: float
):
    told = told_of(outcomes_of(kind, rows))
    cascade = told["chosen"][0]
    assert cascade["of_strong_cost"] < most
    assert cascade["above_target"] > -cascade["error_95"]
    for row in told["compared"]:
        if row["reaches_target"] and row["baseline"] != "oracle":
            assert row["cascade_costs"] < 1.0, row
    oracle = told["compared"][-1]
    assert oracle["baseline"] == "oracle"
    assert oracle["cost_nusd"] < cascade["cost_nusd"]
    # Answers are spelled in many ways, and read all the same.
    assert told["compares"] == {"answers": 5 * rows, "read": 1.0, "right_pairs_alike": 1.0}


def test_the_cascade_costs_little_more_than_the_best_fixed_one_found_by_trying_all():
    outcomes = outcomes_of("sums", 400)
    cascade = told_of(outcomes)["chosen"][0]
    names = sorted(outcomes[0].models)
    costs = [
        cost
        for count in (2, 3, 4)
        for order in permutations(names, count)
        for quality, cost in [until_two_agree(outcomes, order)]
        if quality >= cascade["quality"]
    ]
    # The best of so many is flattered: it was chosen by the prompts it is measured on.
    assert cascade["cost_nusd"] < 1.25 * min(costs)


def until_two_agree(outcomes: list[Outcome], order: tuple[str, ...]) -> tuple[float, int]:
    """Quality and cost of asking in this order until two say the same; else the last one's word."""
    score, cost = 0.0, 0
    for outcome in outcomes:
        seen: dict[str, str] = {}
        taken = order[-1]
        for name in order:
            answer = outcome.models[name]
            cost += answer.cost_nusd or 0
            if answer.answer_key is not None and answer.answer_key in seen:
                taken = seen[answer.answer_key]
                break
            if answer.answer_key is not None:
                seen[answer.answer_key] = name
        score += outcome.models[taken].score
    return score / len(outcomes), cost


def test_one_sentence_says_what_it_comes_to():
    told = told_of(outcomes_of("sums", 200))
    headline = told["headline"]
    assert headline["text"].startswith("95 % of large's quality (here ")
    assert headline["of_strong_cost"] == told["chosen"][0]["of_strong_cost"]
    assert headline["calls"].keys() <= set(told["chosen"][0]["models"])
    assert told["peers"], "a peer is found where answers are told"


def test_answers_that_say_nothing_teach_nothing_but_cost_their_price():
    rows = recorded("sums", 200)
    for row in rows:
        for name, model in row["models"].items():
            if name != "large":
                model["answer"] = "I cannot tell how many there may be, for who could know it all?"
    told = told_of(read_outcomes(json.dumps(row).encode() for row in rows))
    assert told["compares"]["read"] == pytest.approx(0.2)
    cascade, by_prompt, _ = told["chosen"]
    assert cascade["of_strong_cost"] == pytest.approx(by_prompt["of_strong_cost"], abs=0.1)
