"""`python -m training DATA_FOLDER`: fit, measure on sources left out, write weights and card."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from shared.deciding.classification.model import FILE, parse
from shared.deciding.classification.signals import told
from training import card, difficulty, measuring, rows, tasks, word_vectors

WEIGHTS = Path("shared/deciding/classification") / FILE
CARD = Path("docs/model_card.md")
EACH = 25
SEED = 5
_LEVELS = 8191  # points are stored as whole numbers of at most so many units


def train(folder: Path, each: int = EACH, seed: int = SEED) -> tuple[bytes, dict[str, Any]]:
    """The weights' file and the figures, from a data folder; the same for the same input."""
    found = rows.recorded(folder)
    own = list(rows.own(each, seed))
    doubtful = rows.unclear(folder, each, seed)
    shares = tasks.unseen(found, own, doubtful)
    mayship = [index for index, row in enumerate(found) if row.mayship]
    curve = tasks.curve([found[index] for index in mayship], shares[mayship])
    shippable = [found[index] for index in mayship]
    task = _stored(tasks.fit([*shippable, *own], doubtful), curve)
    asked = difficulty.questions(folder)
    hard = difficulty.shipped_from(asked)
    weights = orjson.dumps(
        {
            "task": task,
            "difficulty": {"centre": hard.centre, "weights": hard.weights, "bias": hard.bias},
        }
    )
    models = parse(weights)
    figures = {
        "rows": {"recorded": len(shippable), "own": len(own), "signals": len(task["signals"])},
        "tasks": measuring.measure(found, shares, models.task.curve),
        "ambiguous": measuring.doubt(folder, models),
        "difficulty": difficulty.measure(asked, models.task),
    }
    return weights, figures


def _stored(fitted: tasks.Fit, curve: Sequence[tuple[float, float]]) -> dict[str, Any]:
    signals = sorted(fitted.columns, key=fitted.columns.__getitem__)
    places, table = word_vectors.places(), word_vectors.figures()
    words = sorted(places)
    meanings = table[[places[word] for word in words]] @ fitted.meanings
    unit = float(max(np.abs(fitted.points).max(), np.abs(meanings).max())) / _LEVELS
    return {
        "classes": rows.CLASSES,
        "bias": fitted.bias.round(5).tolist(),
        "signals": [told(signal) for signal in signals],
        "points": np.rint(fitted.points / unit).astype(int).tolist(),
        "words": words,
        "meanings": np.rint(meanings / unit).astype(int).tolist(),
        "unit": unit,
        "curve": curve,
    }


def main() -> None:
    """Read the arguments, train, write."""
    options = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    options.add_argument("folder", type=Path, help="with tasks_train.jsonl.gz and the others")
    folder: Path = options.parse_args().folder
    weights, figures = train(folder)
    WEIGHTS.write_bytes(weights)
    CARD.write_text(card.renewed(CARD.read_text("utf-8"), weights, figures), "utf-8")
    print(card.figures_in_words(figures))


if __name__ == "__main__":
    main()
