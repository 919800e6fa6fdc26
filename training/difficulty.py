"""The difficulty model: a ridge regression of figures on how many models failed a question.

Scales differ between sets (shares of other models, grades by people), so a set's difficulties
become ranks within it. This is for prompts with answers to choose from; of open prompts too few
have a measured difficulty, so theirs is learned otherwise (`depth`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr
from sklearn.linear_model import Ridge

from shared.deciding.classification.difficulty import difficulty_of
from shared.deciding.classification.features import read_features
from shared.deciding.classification.model import DifficultyModel, Models
from shared.deciding.classification.numbers import NAMES, numbers_of
from shared.deciding.classification.trained import TrainedClassifier
from shared.domain.inference import TaskType
from training.rows import family, read

Array = np.ndarray[Any, np.dtype[np.float64]]

SETS = ("routellm-mmlu", "mmlu-pro")
STRENGTH = 50.0  # the ridge's; between 10 and 200 nothing changes
LONGER = 0.6
"""Standard deviations of the prediction that one of the logarithm of length adds. Length says more
about whom to ask than about how many fail, and that only on one of the two sets: not learned but
set, so that neither set's order loses to length alone.
"""
PAIRS = {
    "routellm-mmlu": [("mixtral-8x7b-instruct", "gpt-4-1106-preview")],
    "mmlu-pro": [
        ("Meta-Llama-3_1-8B-Instruct", "Meta-Llama-3_1-70B-Instruct"),
        ("Mixtral-8x7B-Instruct-v0.1", "gemini-1.5-pro-002"),
        ("Phi-3-mini-4k-instruct", "gemini-1.5-flash-002"),
    ],
}


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with its difficulty; `scores` by model where models answered it."""

    dataset: str
    subject: str
    prompt: str
    difficulty: float
    numbers: tuple[float, ...]
    scores: dict[str, float]


def questions(folder: Path) -> list[Question]:
    """Every row of the data folder that has a difficulty."""
    found = []
    for row in [*read(folder, "routing_train"), *read(folder, "difficulty_labels")]:
        features = read_features(row["prompt"])
        numbers = numbers_of(features, difficulty_of(features, TaskType.COMPLEX_REASONING))
        found.append(
            Question(
                dataset=family(row["source"]),
                subject=row["source"],
                prompt=row["prompt"],
                difficulty=float(row["difficulty"]),
                numbers=numbers,
                scores=row.get("scores", {}),
            )
        )
    return found


def fit(asked: Sequence[Question]) -> DifficultyModel:
    """The model from these questions, each set weighing the same."""
    figures = np.array([question.numbers for question in asked])
    of_set = Counter(question.dataset for question in asked)
    ranks = np.zeros(len(asked))
    for name in of_set:
        mine = np.array([question.dataset == name for question in asked])
        values = [question.difficulty for question in asked if question.dataset == name]
        ranks[mine] = (rankdata(values) - 0.5) / len(values)
    centre, spread = figures.mean(axis=0), figures.std(axis=0) + 1e-9
    weights = [1000 / of_set[question.dataset] for question in asked]
    model = Ridge(alpha=STRENGTH).fit((figures - centre) / spread, ranks, sample_weight=weights)
    standard = model.coef_.copy()
    predicted = (figures - centre) / spread @ standard
    standard[NAMES.index("log_words")] += LONGER * float(predicted.std())
    return DifficultyModel(
        centre=tuple(centre.round(6).tolist()),
        weights=tuple((standard / spread).round(7).tolist()),
        bias=round(float(model.intercept_), 6),
    )


def shipped_from(found: Sequence[Question], left_out: str = "") -> DifficultyModel:
    """The model that is shipped, from both sets whose licences allow it, or without one of them."""
    return fit([q for q in found if q.dataset in SETS and q.dataset != left_out])


def measure(found: Sequence[Question], without: Callable[[str], Models]) -> dict[str, Any]:
    """Spearman for every set, by models `without` anything of the set; APGR for pairs of models."""
    told: dict[str, Any] = {}
    for name in sorted({question.dataset for question in found}):
        mine = [question for question in found if question.dataset == name]
        classifier = TrainedClassifier(without(name))
        scores = np.array([classifier.classify_text(q.prompt).difficulty for q in mine])
        lengths = np.array([float(len(q.prompt)) for q in mine])
        told[name] = {
            "rows": len(mine),
            "spearman": _spearman(scores, mine),
            "spearman_of_length": _spearman(lengths, mine),
            "apgr": {
                f"{weak} to {strong}": {
                    "model": _apgr(scores, mine, weak, strong),
                    "length": _apgr(lengths, mine, weak, strong),
                }
                for weak, strong in PAIRS.get(name, [])
            },
        }
    return told


def _spearman(scores: Array, asked: Sequence[Question]) -> float:
    return round(float(spearmanr(scores, [q.difficulty for q in asked])[0]), 3)


def _apgr(scores: Array, asked: Sequence[Question], weak: str, strong: str) -> float:
    """The share of the gap between two models recovered, averaged over how many prompts go to
    the strong one, hardest first; 0.5 is chance.
    """
    gain = np.array([q.scores[strong] - q.scores[weak] for q in asked])
    recovered = np.concatenate([[0.0], np.cumsum(gain[np.argsort(-scores, kind="stable")])])
    return round(float(recovered.mean() / gain.sum()), 3)
