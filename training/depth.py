"""How deep a knowledge an open prompt asks for: a ridge regression of words' meanings and figures.

Learned from what tells of depth without anybody's grades: the school a question of MMLU is from,
the levels of MATH, and prompts of our own, graded from 1 (everyday life) to 5 (an expert's).
Grades of FLASK and WizardLM, which may not ship, only measure it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

from shared.deciding.classification.difficulty import difficulty_of
from shared.deciding.classification.features import read_features
from shared.deciding.classification.model import DifficultyModel
from shared.deciding.classification.numbers import open_numbers_of
from shared.deciding.classification.signals import opening_and_closing_words
from shared.domain.inference import TaskType
from training.grammar import SEEDS
from training.rows import family, read
from training.word_vectors import meaning

Array = np.ndarray[Any, np.dtype[np.float64]]

OWN = "own"
SUBJECTS = {
    "high_school": 0.55,
    "college": 0.8,
    "professional": 0.85,
    "miscellaneous": 0.25,
    "global_facts": 0.35,
    "conceptual": 0.55,
    "econometrics": 0.9,
    "formal_logic": 0.85,
    "electrical": 0.8,
    "marketing": 0.5,
    "nutrition": 0.5,
    "human_sexuality": 0.45,
    "human_aging": 0.45,
    "astronomy": 0.6,
    "anatomy": 0.65,
    "jurisprudence": 0.8,
    "philosophy": 0.7,
    "computer_security": 0.7,
    "us_foreign": 0.6,
    "sociology": 0.6,
    "prehistory": 0.6,
    "world_religions": 0.5,
}
"""By how an MMLU subject's name begins: the school it is from, or, for want of one, by hand."""
WEIGHTS = {OWN: 2.0, "routellm-mmlu": 1.0, "MATH": 0.5}
"""How much each set counts, whatever its size."""
STRENGTH = 400.0  # the ridge's
_OF_MEANINGS = 3.0  # how much farther apart words' meanings lie than figures do
_LEAST, _RANGE = -0.245, 0.975
"""Where grades 0 to 1 lie on the scale of difficulty: a little beyond its ends, as predictions lie
closer together than what they were learned from. So a plain question comes out at 0.1.
"""
_ANSWERS = "\nA. "


@dataclass(frozen=True, slots=True)
class Graded:
    """A prompt's figures and words, with the depth it asks for, 0..1."""

    dataset: str
    numbers: tuple[float, ...]
    words: frozenset[str]
    grade: float


@dataclass(frozen=True, slots=True)
class Depth:
    """A fitted model: the line through figures, and what each figure of words' meaning adds."""

    line: DifficultyModel
    meanings: Array


def graded(folder: Path) -> list[Graded]:
    """All prompts to learn from."""
    return [_graded(*row) for row in (*_own(), *_schools(folder), *_levels(folder))]


def _own() -> Iterator[tuple[str, str, float]]:
    level = 0
    for line in (SEEDS / "graded.txt").read_text("utf-8").splitlines():
        if line.startswith("== "):
            level = int(line.removeprefix("== "))
        else:
            yield OWN, line, (level - 1) / 4


def _schools(folder: Path) -> Iterator[tuple[str, str, float]]:
    for row in read(folder, "routing_train"):
        name, _, subject = row["source"].partition("/")
        grade = next((g for start, g in SUBJECTS.items() if subject.startswith(start)), None)
        if name == "routellm-mmlu" and grade is not None:
            yield name, row["prompt"].partition(_ANSWERS)[0], grade


def _levels(folder: Path) -> Iterator[tuple[str, str, float]]:
    for row in read(folder, "difficulty_labels"):
        if family(row["source"]) == "MATH":
            yield "MATH", row["prompt"], float(row["difficulty"])


def _graded(dataset: str, prompt: str, grade: float) -> Graded:
    features = read_features(prompt)
    numbers = open_numbers_of(features, difficulty_of(features, TaskType.COMPLEX_REASONING))
    return Graded(dataset, numbers, frozenset(opening_and_closing_words(features)), grade)


def fit(rows: Sequence[Graded]) -> Depth:
    """The model from these prompts, each set weighing what `WEIGHTS` gives it."""
    numbers = np.array([row.numbers for row in rows])
    centre, spread = numbers.mean(axis=0), numbers.std(axis=0) + 1e-9
    seen = np.hstack(
        [(numbers - centre) / spread, meaning([row.words for row in rows]) * _OF_MEANINGS]
    )
    sets = [row.dataset for row in rows]
    weights = [300 * WEIGHTS[name] / sets.count(name) for name in sets]
    grades = [_LEAST + _RANGE * row.grade for row in rows]
    model = Ridge(alpha=STRENGTH).fit(seen, grades, sample_weight=weights)
    of_numbers, of_meanings = np.split(model.coef_, [numbers.shape[1]])
    line = DifficultyModel(
        centre=tuple(centre.round(6).tolist()),
        weights=tuple((of_numbers / spread).round(7).tolist()),
        bias=round(float(model.intercept_), 6),
    )
    return Depth(line, of_meanings * _OF_MEANINGS)
