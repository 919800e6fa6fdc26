"""The shipped models: what they say of prompts written for tests, their file, and their card."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deciding.classification import model
from shared.deciding.classification.certain import certain
from shared.deciding.classification.classifier import Classifier
from shared.deciding.classification.difficulty import difficulty_of
from shared.deciding.classification.features import read_features
from shared.deciding.classification.model import DifficultyModel, Models, TaskModel, shipped
from shared.deciding.classification.numbers import (
    NAMES,
    OPEN_NAMES,
    numbers_of,
    open_numbers_of,
)
from shared.deciding.classification.rules import cues_of
from shared.deciding.classification.signals import parsed, signals_of, told
from shared.deciding.classification.trained import TrainedClassifier
from shared.domain.inference import Request, TaskType

ROOT = Path(__file__).parents[3]
CLASSIFIER = TrainedClassifier()

# Written to be hard. Seen for the first time, 13 of the 20 were classified rightly; the seeds were
# widened by what they showed, so the floor guards against getting worse and measures nothing.
ODD = [
    ("port this awk one-liner to rust: awk '{s+=$2} END {print s}'", TaskType.CODING),
    ("My pytest fixture is called twice per test, why?", TaskType.CODING),
    ('def is_palindrome(text: str) -> bool:\n    """Ignore case."""\n', TaskType.CODING),
    ("Which index would speed up SELECT * FROM visits WHERE day > '2024-01-01'?", TaskType.CODING),
    ("A villanelle for a dog who waits at the bus stop.", TaskType.CREATIVE),
    ("Pitch our new oat drink to tired parents in three cheeky lines.", TaskType.CREATIVE),
    ("Nobody had told the statue that the war was over.", TaskType.CREATIVE),
    ("Write the voice-over of a trailer for a film about moss.", TaskType.CREATIVE),
    ("Which arguments does the author give? The tax, she says, hits the poor.", TaskType.ANALYSIS),
    ("Sort into vegetables and tools: leek, rake, kale, hoe, chard", TaskType.ANALYSIS),
    ("Ann: Eight?\nBo: Rather nine.\nAnn: Fine.\nWhen do they meet?", TaskType.ANALYSIS),
    ("Contrast how two newspapers would report the strike.", TaskType.ANALYSIS),
    ("Twelve eggs cost 4.20. What do thirty cost?", TaskType.COMPLEX_REASONING),
    ("Show that n(n+1) is even for every whole n.", TaskType.COMPLEX_REASONING),
    (
        "All smiths sing. Nobody who sings is sad. Can a smith be sad?",
        TaskType.COMPLEX_REASONING,
    ),
    ("Find x if log_2(x) + log_2(x-2) = 3.", TaskType.COMPLEX_REASONING),
    ("who painted the ceiling of the sistine chapel", TaskType.SIMPLE_QA),
    ("What does a luthier make?", TaskType.SIMPLE_QA),
    ("Is Lake Baikal in Mongolia?", TaskType.SIMPLE_QA),
    ("population of tromsø", TaskType.SIMPLE_QA),
]


def test_odd_prompts_of_every_class_are_mostly_understood() -> None:
    wrong = [p for p, kind in ODD if CLASSIFIER.classify_text(p).task_type is not kind]
    assert len(wrong) <= 3, wrong


def test_prompts_that_fit_no_class_get_less_confidence_than_plain_ones() -> None:
    plain = ["What is the capital of Norway?", "Write a poem about rain.", "Solve 3x + 4 = 19."]
    mixed = [
        "my week was odd, and now this form, you know",
        "Should I wear a hat to the meeting?",
        "Reply to Ana that Monday is fine and ask for the address.",
    ]
    sure = [CLASSIFIER.classify_text(prompt).confidence for prompt in plain]
    unsure = [CLASSIFIER.classify_text(prompt).confidence for prompt in mixed]
    assert min(sure) > max(unsure)


@given(st.text(max_size=300))
def test_any_text_is_classified_within_bounds_and_always_alike(text: str) -> None:
    decided = CLASSIFIER.classify_text(text)
    assert 0 <= decided.difficulty <= 1
    assert 0 <= decided.confidence <= 1
    assert decided.reasons
    assert decided == CLASSIFIER.classify_text(text)


def test_confidence_rises_with_the_models_share() -> None:
    curve = shipped().task.curve
    shares = [model.along(curve, step / 100) for step in range(20, 101)]
    assert shares == sorted(shares)
    assert len(set(shares)) > 5


@given(st.lists(st.lists(st.integers(-8191, 8191), min_size=7, max_size=7), max_size=500))
def test_points_packed_side_by_side_add_up_as_they_do_apart(rows: list[list[int]]) -> None:
    apart = [sum(row[place] for row in rows) for place in range(7)]
    assert model.unpacked(sum(map(model.packed, rows)), 7) == apart


def test_a_prompt_is_decided_alike_in_every_process() -> None:
    prompts = [prompt for prompt, _ in ODD] + ["List and review, then write a report: build, sum."]
    script = (
        "import json, sys\n"
        "from shared.deciding.classification.trained import TrainedClassifier\n"
        "told = [TrainedClassifier().classify_text(p).to_dict() for p in json.load(sys.stdin)]\n"
        "print(json.dumps(told))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", script],
            input=json.dumps(prompts),
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]


def test_a_word_counts_by_its_meaning_and_the_less_the_more_are_known() -> None:
    classes = shipped().task.classes
    fits = 3000  # so surely that nothing is taken off the confidence
    meanings = {
        "sonnet": model.packed([0, 400, 0, 0, 0, fits, 0]),
        "lemma": model.packed([0, 0, 0, 400, 0, fits, 0]),
    }
    task = TaskModel(classes, 0, {}, meanings, 0.01, ((0.0, 0.0), (1.0, 1.0)))
    assert task.decide((), {"sonnet", "unheard"})[0] is TaskType.CREATIVE
    assert task.decide((), {"lemma"})[0] is TaskType.COMPLEX_REASONING
    alone, both = task.decide((), ["sonnet"])[1], task.decide((), ["sonnet", "sonnet", "lemma"])[1]
    assert alone == pytest.approx(0.932, abs=0.001)  # e^4 of e^4 + 4
    assert both < alone


def test_doubt_whether_a_prompt_fits_any_class_takes_confidence_but_not_the_type() -> None:
    classes = shipped().task.classes
    meanings = {
        name: model.packed([0, 400, 0, 0, 0, points, 0])
        for name, points in {"sonnet": 300, "verse": 0, "recipe": -300}.items()
    }
    task = TaskModel(classes, 0, {}, meanings, 0.01, ((0.0, 0.0), (1.0, 1.0)))
    found = [task.decide((), {word}) for word in meanings]
    assert {decision.kind for decision in found} == {TaskType.CREATIVE}
    # Three of four prompts fit a class: e^3 against e^0 and e^-3, times three.
    sure, even, unsure = (decision.confidence / 0.932 for decision in found)
    assert (sure, even, unsure) == pytest.approx((0.984, 0.75, 0.13), abs=0.002)


def test_words_of_a_deep_subject_make_an_open_prompt_harder() -> None:
    pairs = [
        (
            "What should I put into a picnic basket?",
            "What should a renormalization group preserve?",
        ),
        ("Write about my cat and the garden.", "Write about eigenvalue theorems and manifolds."),
        ("How do I boil an egg?", "How do I treat myocarditis with arrhythmia?"),
    ]
    for plain, deep in pairs:
        easier, harder = CLASSIFIER.classify_text(plain), CLASSIFIER.classify_text(deep)
        assert easier.difficulty + 0.05 < harder.difficulty, plain


def test_every_signal_is_the_same_after_its_way_through_the_file() -> None:
    texts = [prompt for prompt, _ in ODD] + ["1) a\n2) b\n```x = 3```\nA. y\nB. n", "...", "! !"]
    for text in texts:
        features = read_features(text)
        found = signals_of(features, cues_of(features))
        stored = orjson.loads(orjson.dumps([told(signal) for signal in found]))
        assert {parsed(signal) for signal in stored} == found


def test_a_curve_is_level_beyond_its_ends_and_straight_between() -> None:
    curve = ((0.4, 0.5), (0.8, 0.9))
    assert [model.along(curve, x) for x in (0.1, 0.4, 0.6, 0.8, 0.95)] == pytest.approx(
        [0.5, 0.5, 0.7, 0.9, 0.9]
    )


def test_a_question_with_answers_to_choose_from_gets_the_learned_difficulty() -> None:
    question = "Which is a prime?\nA. 4\nB. 6\nC. 7\nD. 9\nAnswer:"
    task = TaskModel(shipped().task.classes, 0, {}, {}, 1.0, ((0.2, 0.5), (1.0, 0.9)))
    flat = (0.0,) * len(NAMES)
    open_flat = (0.0,) * len(OPEN_NAMES)
    depth = DifficultyModel(open_flat, open_flat, 0.4)
    easy = TrainedClassifier(Models(task, DifficultyModel(flat, flat, 0.3), depth))
    hard = TrainedClassifier(Models(task, DifficultyModel(flat, flat, 0.7), depth))
    assert easy.classify_text(question).difficulty == pytest.approx(0.24)
    assert hard.classify_text(question).difficulty == pytest.approx(0.76)
    open_question = "Prove that there are infinitely many primes."
    assert easy.classify_text(open_question) == hard.classify_text(open_question)


def test_the_difficulty_model_has_a_weight_for_every_figure() -> None:
    features = read_features("Pick one.\nA. x\nB. y")
    numbers = numbers_of(features, difficulty_of(features, TaskType.SIMPLE_QA))
    shipped_model = shipped().difficulty
    assert len(numbers) == len(NAMES) == len(shipped_model.weights) == len(shipped_model.centre)
    depth, of_open = shipped().depth, open_numbers_of(features, 0.3)
    assert len(of_open) == len(OPEN_NAMES) == len(depth.weights) == len(depth.centre)


def test_the_last_user_message_decides() -> None:
    classifier: Classifier = CLASSIFIER
    request = Request(
        messages=(
            {"role": "user", "content": "Write a poem about rain."},
            {"role": "assistant", "content": "Rain falls."},
            {"role": "user", "content": "Prove that 2^n > n for all n."},
        )
    )
    decided = classifier.classify(request)
    assert decided.task_type is TaskType.COMPLEX_REASONING
    assert decided.source == "trained"


def test_the_model_card_describes_the_weights_that_are_shipped() -> None:
    weights = (ROOT / "shared/deciding/classification" / model.FILE).read_bytes()
    card = (ROOT / "docs/model_card.md").read_text("utf-8")
    assert hashlib.sha256(weights).hexdigest() in card
    assert f"{len(weights):,} bytes" in card
    signals = re.search(r"([\d,]+) signals\.", card)
    assert signals
    assert int(signals[1].replace(",", "")) == len(shipped().task.points)
    assert len(weights) < 2_000_000


def test_a_prompt_costs_far_less_than_a_page_of_work() -> None:
    pages = [
        "The mill stood by the river, and the miller asked why. " * n for n in (1, 5, 50, 5000)
    ]
    pages += ["a" + "\n " * 3_000 + "b", "$ a " * 3_000, "\na b c d:" * 1_000, "(A " * 3_000 + "b"]
    best = min(_cpu_s(pages) for _ in range(5))
    # 1 ms of CPU is the aim; ten times that lets a loaded machine pass and a quadratic cost not.
    assert best / len(pages) < 0.010


def _cpu_s(prompts: list[str]) -> float:
    begun = time.process_time()
    for prompt in prompts:
        CLASSIFIER.classify_text(prompt)
    return time.process_time() - begun


@pytest.mark.parametrize(
    "prompt", ["What is 2 + 3?", "what's 7 times 8", "12 x 12 =", "How much is 40 minus 2?", "9-4"]
)
def test_a_sum_known_by_heart_is_no_reasoning(prompt: str) -> None:
    found = CLASSIFIER.classify_text(prompt)
    assert (found.task_type, found.difficulty < 0.1) == (TaskType.SIMPLE_QA, True)


@pytest.mark.parametrize(
    "prompt", ["What is 2 + 3? Explain how an abacus adds.", "What is 391 * 17?", "x + 3 = 5"]
)
def test_more_than_a_sum_is_weighed(prompt: str) -> None:
    assert certain(prompt) is None
