"""`python -m training DATA_FOLDER`: fit, measure on sources left out, write weights and card."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from shared.deciding.classification.model import FILE, DifficultyModel, Models, parse
from shared.deciding.classification.signals import told
from training import card, depth, difficulty, measuring, rows, tasks, word_vectors

WEIGHTS = Path("shared/deciding/classification") / FILE
CARD = Path("docs/model_card.md")
EACH = 12
SEED = 5
_LEVELS = 8191  # points are stored as whole numbers of at most so many units


def train(folder: Path, each: int = EACH, seed: int = SEED) -> tuple[bytes, dict[str, Any]]:
    """The weights' file and the figures, from a data folder; the same for the same input."""
    found = rows.recorded(folder)
    own = list(rows.own(each, seed))
    doubtful = rows.unclear(folder, each, seed)
    shares, fits = tasks.unseen(found, own, doubtful)
    mayship = [index for index, row in enumerate(found) if row.mayship]
    curve = tasks.curve([found[index] for index in mayship], shares[mayship])
    shippable = [found[index] for index in mayship]
    task = tasks.fit([*shippable, *own], doubtful)
    graded = depth.graded(folder)
    deep = depth.fit(graded)
    asked = difficulty.questions(folder)
    hard = difficulty.shipped_from(asked)

    def file_of(depths: depth.Depth, choices: DifficultyModel) -> bytes:
        stored = _stored(task, curve, depths)
        lines = {"difficulty": _line(choices), "depth": _line(depths.line)}
        return orjson.dumps({"task": stored, **lines})

    def without(name: str) -> Models:
        depths = depth.fit([row for row in graded if row.dataset != name])
        return parse(file_of(depths, difficulty.shipped_from(asked, name)))

    weights = file_of(deep, hard)
    models = parse(weights)
    figures = {
        "rows": {"recorded": len(shippable), "own": len(own), "signals": len(task.columns)},
        "tasks": measuring.measure(found, shares, fits, models.task.curve),
        "ambiguous": measuring.doubt(folder, models),
        "difficulty": difficulty.measure(asked, without),
    }
    return weights, figures


def _line(fitted: DifficultyModel) -> dict[str, Any]:
    return {"centre": fitted.centre, "weights": fitted.weights, "bias": fitted.bias}


def _stored(
    fitted: tasks.Fit, curve: Sequence[tuple[float, float]], deep: depth.Depth
) -> dict[str, Any]:
    """The task model as its file has it: behind the columns of the fit that of depth, which only
    words have.
    """
    signals = sorted(fitted.columns, key=fitted.columns.__getitem__)
    places, table = word_vectors.places(), word_vectors.figures()
    words = sorted(places)
    known = table[[places[word] for word in words]]
    meanings = np.column_stack([known @ fitted.meanings, known @ deep.meanings])
    points = np.pad(fitted.points, ((0, 0), (0, 1)))
    unit = float(max(np.abs(points).max(), np.abs(meanings).max())) / _LEVELS
    return {
        "classes": rows.CLASSES,
        "bias": [*fitted.bias.round(5).tolist(), 0.0],
        "signals": [told(signal) for signal in signals],
        "points": np.rint(points / unit).astype(int).tolist(),
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
