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
from shared.deciding.classification.signals import signals_of
from training.grammar import SHARED, Grammar

CLASSES = ("coding", "creative", "analysis", "complex_reasoning", "simple_qa")
"""In the order of the shipped weights."""
SEED_FILES = {
    "coding": "coding",
    "creative": "creative",
    "analysis": "analysis",
    "reasoning": "complex_reasoning",
    "simple_qa": "simple_qa",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt's signals with its label. `source`: what is left out together; `form`: what counts
    as one place where a signal was seen; `mayship`: whether the licence lets it into the weights.
    """

    source: str
    form: str
    label: str
    signals: frozenset[Hashable]
    mayship: bool


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    """The JSON lines of `name`.jsonl.gz in the data folder."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def signals(prompt: str) -> frozenset[Hashable]:
    """What the model is shown of a prompt."""
    features = read_features(prompt)
    return frozenset(signals_of(features, cues_of(features)))


def recorded(folder: Path) -> list[Row]:
    """The labelled rows of the data folder."""
    return [
        Row(
            source=family(row["source"]),
            form="MATH" if row["source"].startswith("MATH/") else row["source"],
            label=row["task_type"].lower(),
            signals=signals(row["prompt"]),
            mayship=row["permissive"],
        )
        for row in read(folder, "tasks_train")
    ]


def family(source: str) -> str:
    """The data set a source belongs to: what is left out together."""
    return source.partition("/")[0]


def own(each: int, seed: int) -> Iterator[Row]:
    """Rows from our seed files, `each` of every form."""
    for file, label in SEED_FILES.items():
        for form, prompt in Grammar(*SHARED, file).prompts(each, random.Random(seed)):
            yield Row("own", form, label, signals(prompt), mayship=True)


def unclear(each: int, seed: int) -> list[frozenset[Hashable]]:
    """Signals of our own prompts that fit no class well: they teach doubt."""
    grammar = Grammar(*SHARED, "unclear")
    return [signals(prompt) for _, prompt in grammar.prompts(each, random.Random(seed))]
