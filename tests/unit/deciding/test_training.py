"""The training code: seeds become prompts, and a tiny data set weights that are read back."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from shared.deciding.classification.model import parse
from shared.deciding.classification.trained import TrainedClassifier
from training import card
from training.__main__ import train
from training.grammar import SHARED, Grammar
from training.rows import CLASSES, SEED_FILES, UNCLEAR_FILES

PROMPTS = {
    "CODING": "Write a function that adds {n} to each number of a list in Python.",
    "CREATIVE": "Write a poem about {n} geese over a frozen lake.",
    "ANALYSIS": "Summarize the following text: in {n} towns the council met, and people spoke.",
    "COMPLEX_REASONING": "Tom has {n} pears and buys 7 more. How many pears has he now?",
    "SIMPLE_QA": "Who was king of Spain in 15{n}?",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("data")
    tasks = [
        {
            "prompt": text.format(n=n),
            "task_type": label,
            "source": f"{'auto-j/' if n % 3 else 'shop/'}{label}",
            "permissive": n % 3 == 0,
        }
        for label, text in PROMPTS.items()
        for n in range(10, 22)
    ]
    asked = [
        {
            "prompt": f"What is {n} plus {n}?\nA. {n}\nB. {2 * n}\nC. 1\nD. 2{' or so' * n}",
            "difficulty": n / 40,
            "source": f"{dataset}/sums",
            "scores": dict.fromkeys(names, 0) | {names[1]: 1},
        }
        for dataset, names in {
            "routellm-mmlu": ["mixtral-8x7b-instruct", "gpt-4-1106-preview"],
            "mmlu-pro": [
                "Meta-Llama-3_1-8B-Instruct",
                "Meta-Llama-3_1-70B-Instruct",
                "Mixtral-8x7B-Instruct-v0.1",
                "gemini-1.5-pro-002",
                "Phi-3-mini-4k-instruct",
                "gemini-1.5-flash-002",
            ],
        }.items()
        for n in range(1, 30)
    ]
    for row in asked:
        row["scores"] |= {
            name: 1 for name in row["scores"] if name.startswith("gemini") or "70B" in name
        }
    unclear = [{"prompt": "my week was odd", "source": "auto-j/chitchat"}]
    _write(folder / "tasks_train.jsonl.gz", tasks)
    _write(folder / "routing_train.jsonl.gz", asked)
    _write(folder / "difficulty_labels.jsonl.gz", asked[:5])
    _write(folder / "tasks_ambiguous.jsonl.gz", unclear)
    weights, figures = train(folder, each=1, seed=1)
    again, _ = train(folder, each=1, seed=1)
    return weights, again, figures


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_training_twice_gives_the_same_weights(trained: tuple[bytes, bytes, Any]) -> None:
    weights, again, _ = trained
    assert weights == again


def test_weights_that_were_trained_can_be_read_and_used(trained: tuple[bytes, bytes, Any]) -> None:
    classifier = TrainedClassifier(parse(trained[0]))
    for label, text in PROMPTS.items():
        assert classifier.classify_text(text.format(n=77)).task_type.value == label.lower()


def test_the_card_carries_the_figures_of_the_weights(trained: tuple[bytes, bytes, Any]) -> None:
    weights, _, figures = trained
    text = f"before\n{card.BEGIN}\nold\n{card.END}\nafter\n"
    once = card.renewed(text, weights, figures)
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "old" not in once
    assert f"{len(weights):,} bytes" in once
    assert card.renewed(once, weights, figures) == once


def test_only_rows_whose_licence_allows_it_are_trained_on(
    trained: tuple[bytes, bytes, dict[str, Any]],
) -> None:
    assert trained[2]["rows"]["recorded"] == 5 * 4


@pytest.mark.parametrize("file", [*SEED_FILES, *UNCLEAR_FILES])
def test_every_form_of_the_seeds_can_be_filled(file: str) -> None:
    prompts = list(Grammar(*SHARED, file).prompts(3, random.Random(3)))
    assert len({form for form, _ in prompts}) > 20
    for _, prompt in prompts:
        assert prompt.strip()
        assert "«" not in prompt
        assert "»" not in prompt


def test_the_seeds_cover_all_classes() -> None:
    assert set(SEED_FILES.values()) == set(CLASSES)
