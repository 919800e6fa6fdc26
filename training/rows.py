"""The rows that are trained on and validated with: recorded ones from a folder, and our own."""

import gzip
import json
import random
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.deciding.classification.features import read_features
from shared.deciding.classification.rules import cues_of
from shared.deciding.classification.signals import opening_and_closing_words, signals_of
from training.grammar import SHARED, Grammar

CLASSES = ("coding", "creative", "analysis", "complex_reasoning", "simple_qa")
"""In the order of the shipped weights."""
SEED_FILES = {
    "coding": "coding",
    "coding_natural": "coding",
    "creative": "creative",
    "creative_natural": "creative",
    "analysis": "analysis",
    "analysis_natural": "analysis",
    "reasoning": "complex_reasoning",
    "reasoning_natural": "complex_reasoning",
    "simple_qa": "simple_qa",
    "simple_qa_natural": "simple_qa",
}
UNCLEAR_FILES = ("unclear", "unclear_natural")

UNCLEAR_MAY_SHIP = frozenset({"dolly"})
"""Families of `tasks_ambiguous`, which has no field for it, whose licence allows it (CC-BY-SA)."""


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt's signals and the words whose meaning counts, with its label. `source`: what is left
    out together; `form`: what counts as one place where a signal was seen; `mayship`: whether the
    licence lets it into the weights.
    """

    source: str
    form: str
    label: str
    signals: frozenset[Hashable]
    words: frozenset[str]
    mayship: bool


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    """The JSON lines of `name`.jsonl.gz in the data folder."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def row(source: str, form: str, label: str, prompt: str, *, mayship: bool = True) -> Row:
    """What the model is shown of a prompt, with its label."""
    features = read_features(prompt)
    signals = frozenset(signals_of(features, cues_of(features)))
    words = frozenset(opening_and_closing_words(features))
    return Row(source, form, label, signals, words, mayship)


def recorded(folder: Path) -> list[Row]:
    """The labelled rows of the data folder."""
    return [
        row(
            family(found["source"]),
            "MATH" if found["source"].startswith("MATH/") else found["source"],
            found["task_type"].lower(),
            found["prompt"],
            mayship=found["permissive"],
        )
        for found in read(folder, "tasks_train")
    ]


def family(source: str) -> str:
    """The data set a source belongs to: what is left out together."""
    return source.partition("/")[0]


def own(each: int, seed: int) -> Iterator[Row]:
    """Rows from our seed files, `each` of every form."""
    for file, label in SEED_FILES.items():
        for form, prompt in Grammar(*SHARED, file).prompts(each, random.Random(seed)):
            yield row("own", form, label, prompt)


def unclear(folder: Path, each: int, seed: int) -> list[Row]:
    """Prompts that fit no class well, our own and recorded ones that may ship: they teach doubt."""
    ours = [
        row("own", form, "", prompt)
        for file in UNCLEAR_FILES
        for form, prompt in Grammar(*SHARED, file).prompts(each, random.Random(seed))
    ]
    return ours + [
        row(family(found["source"]), found["source"], "", found["prompt"])
        for found in read(folder, "tasks_ambiguous")
        if family(found["source"]) in UNCLEAR_MAY_SHIP
    ]
