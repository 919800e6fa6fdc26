"""The trained models: two linear ones, over signals and over figures; their weights are data.

The weights were made by `python -m training`; docs/model_card.md says from what, and how well they
do. No numeric library: a prompt touches some hundred weights, which plain Python adds up in less
time than an array takes to be built.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from math import exp
from typing import Any, Final

import orjson

from shared.domain.inference import TaskType

FILE: Final = "model.json"


@dataclass(frozen=True, slots=True)
class TaskModel:
    """Points of every signal for each of `classes`, and what the best one's lead is worth.

    curve: (probability, confidence) knots, rising: the share that was right among prompts of
    sources unseen in training which got this probability.
    """

    classes: tuple[TaskType, ...]
    bias: tuple[float, ...]
    weights: Mapping[str, tuple[float, ...]]
    curve: tuple[tuple[float, float], ...]

    def decide(self, signals: Iterable[str]) -> tuple[TaskType, float]:
        """The likeliest task type, and the confidence in it, 0..1."""
        coding, creative, analysis, reasoning, simple = self.bias
        for found in map(self.weights.get, signals):
            if found is not None:
                coding += found[0]
                creative += found[1]
                analysis += found[2]
                reasoning += found[3]
                simple += found[4]
        points = (coding, creative, analysis, reasoning, simple)
        most = max(points)
        share = 1.0 / sum(exp(point - most) for point in points)
        return self.classes[points.index(most)], along(self.curve, share)


@dataclass(frozen=True, slots=True)
class DifficultyModel:
    """A line through the figures of a prompt with answers to choose from; centre and spread are
    those of the prompts it was trained on.
    """

    centre: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def predict(self, numbers: Sequence[float]) -> float:
        """A difficulty, about 0..1, not cut off."""
        terms = zip(numbers, self.centre, self.weights, strict=True)
        return self.bias + sum((number - centre) * weight for number, centre, weight in terms)


@dataclass(frozen=True, slots=True)
class Models:
    """What is shipped."""

    task: TaskModel
    difficulty: DifficultyModel


@lru_cache(maxsize=1)
def shipped() -> Models:
    """The models of this package, read once a process (about 20 ms)."""
    return parse((files(__package__) / FILE).read_bytes())


def parse(stored: bytes) -> Models:
    """Models from their file: `task` {classes, bias, signals, points, unit, curve}, where `points`
    are whole numbers, one row a signal, each worth `unit`; `difficulty` {centre, weights, bias}.
    """
    told = orjson.loads(stored)
    return Models(_task(told["task"]), DifficultyModel(**_tuples(told["difficulty"])))


def _task(told: Mapping[str, Any]) -> TaskModel:
    unit: float = told["unit"]
    return TaskModel(
        classes=tuple(map(TaskType, told["classes"])),
        bias=tuple(told["bias"]),
        weights={
            signal: tuple(point * unit for point in row)
            for signal, row in zip(told["signals"], told["points"], strict=True)
        },
        curve=tuple((share, right) for share, right in told["curve"]),
    )


def _tuples(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
    }


def along(curve: tuple[tuple[float, float], ...], share: float) -> float:
    """The curve's value, straight between two knots, level beyond the ends."""
    at = bisect_right(curve, (share, 2.0))
    if at == 0:
        return curve[0][1]
    if at == len(curve):
        return curve[-1][1]
    (left, low), (right, high) = curve[at - 1], curve[at]
    return low + (high - low) * (share - left) / (right - left)
