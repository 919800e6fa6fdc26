"""How good the task model is on sources it did not see, and whether its confidence is honest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

from shared.deciding.classification.model import Models, along, belief
from shared.deciding.classification.trained import TrainedClassifier
from training.rows import CLASSES, Row, read
from training.tasks import Array

NATURAL = frozenset(
    {"alpaca", "auto-j", "codealpaca", "dolly", "reddit-writingprompts", "writingbench"}
)
"""Sources whose prompts people (or models in their place) wrote as requests; others are tests."""


def measure(
    found: Sequence[Row], shares: Array, fits: Array, curve: tuple[tuple[float, float], ...]
) -> dict[str, Any]:
    """Accuracy, macro-F1, accuracy at 80 % coverage and calibration: in groups, and by source.

    shares: prompts x classes. fits: for each prompt, how likely it fits a class.
    """
    labels = np.array([CLASSES.index(row.label) for row in found])
    odds = np.log(fits / (1 - fits))
    confidence = np.array(
        [
            along(curve, share) * belief(float(fit))
            for share, fit in zip(shares.max(axis=1), odds, strict=True)
        ]
    )
    sources = np.array([row.source for row in found])
    natural = np.isin(sources, list(NATURAL))
    mayship = np.array([row.mayship for row in found])
    groups = {
        "all": np.ones(len(found), dtype=bool),
        "natural prompts": natural,
        "benchmarks": ~natural,
        "never trained on (licence)": ~mayship,
    }
    groups |= {source: sources == source for source in sorted(set(sources.tolist()))}
    return {
        name: _of(labels[mine], shares[mine].argmax(axis=1), confidence[mine])
        for name, mine in groups.items()
    }


def _of(labels: Array, decided: Array, confidence: Array) -> dict[str, Any]:
    right = labels == decided
    surest = np.argsort(-confidence, kind="stable")[: max(1, int(0.8 * len(right)))]
    present = sorted(set(labels.tolist()))
    return {
        "rows": len(right),
        "accuracy": round(float(right.mean()), 3),
        "macro_f1": round(
            float(f1_score(labels, decided, labels=present, average="macro", zero_division=0)), 3
        ),
        "at_80": round(float(right[surest].mean()), 3),
        "calibration_error": round(_calibration_error(right, confidence), 3),
    }


def _calibration_error(right: Array, confidence: Array) -> float:
    """The mean distance between confidence and share right, in ten bins of equal width."""
    bins = np.minimum(9, (confidence * 10).astype(int))
    gaps = [
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).sum()
        for b in range(10)
        if (bins == b).any()
    ]
    return float(sum(gaps) / len(right))


def doubt(folder: Path, models: Models) -> dict[str, float]:
    """Confidence in prompts of one source that have a class against those that fit none: medians,
    and the chance that of one each the clear one gets the higher.
    """
    classifier = TrainedClassifier(models)
    clear = [
        classifier.classify_text(row["prompt"]).confidence
        for row in read(folder, "tasks_train")
        if row["source"].startswith("auto-j/")
    ]
    unclear = [
        classifier.classify_text(row["prompt"]).confidence
        for row in read(folder, "tasks_ambiguous")
        if row["source"].startswith("auto-j/")
    ]
    kinds = [1] * len(clear) + [0] * len(unclear)
    return {
        "clear": round(float(np.median(clear)), 3),
        "unclear": round(float(np.median(unclear)), 3),
        "auc": round(float(roc_auc_score(kinds, [*clear, *unclear])), 3),
    }
