"""The trained models, all linear, over signals and over figures; their weights are data.

The weights were made by `python -m training`; docs/model_card.md says from what, and how well they
do. No numeric library: a prompt touches some hundred weights, and a whole number that holds the
points for all classes side by side lets one built-in `sum` add them up.
"""

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import repeat
from math import exp
from struct import Struct
from typing import Any, Final, NamedTuple

import orjson

from shared.deciding.classification.signals import parsed
from shared.domain.inference import TaskType

FILE: Final = "model.json"
_BITS: Final = 32
_HALF: Final = 1 << (_BITS - 1)
_FINENESS: Final = 64
_SHARES: Final = (0, *(round(_FINENESS / known**0.5) for known in range(1, 64)))
# What makes each of so many numbers positive, so that none borrows from its neighbour.
_HALVES: Final = tuple(sum(_HALF << (_BITS * n) for n in range(count)) for count in range(9))
_PLACES: Final = tuple(Struct(f"<{count}I") for count in range(9))
_EXTREME: Final = 30.0
_WITH_A_CLASS: Final = 3.0
"""So many prompts fit a class for each that fits none: the mixture that confidence is meant for."""


class Decision(NamedTuple):
    """The likeliest task type, the confidence in it, 0..1, and the depth its words speak of."""

    kind: TaskType
    confidence: float
    depth: float


@dataclass(frozen=True, slots=True)
class TaskModel:
    """Points of every signal for each of `classes`, and what the best one's lead is worth.

    bias, points, meanings: whole numbers, `packed` into one for all columns, each worth `unit`.
    Behind the classes follow two columns: whether a prompt fits any class (the logarithm of the
    odds, where as many do as do not), and how deep a knowledge its words speak of (to be added to
    the difficulty of open prompts).
    meanings: of words, by what they are like; a prompt's are added up and divided by the root of
    how many are known. bias and points come `_FINENESS` times as large, so that this is a product.
    curve: (probability, confidence) knots, rising: the share that was right among prompts of
    sources unseen in training which got this probability.
    """

    classes: tuple[TaskType, ...]
    bias: int
    points: Mapping[Hashable, int]
    meanings: Mapping[str, int]
    unit: float
    curve: tuple[tuple[float, float], ...]

    def decide(self, signals: Iterable[Hashable], words: Iterable[str] = ()) -> Decision:
        """The likeliest task type, and what else the model says; `words`: at most 63."""
        total = sum(map(self.points.get, signals, repeat(0)), self.bias)
        known = [found for found in map(self.meanings.get, words) if found is not None]
        total += sum(known) * _SHARES[len(known)]
        *points, belonging, depth = unpacked(total, len(self.classes) + 2)
        most = max(points)
        unit = self.unit / _FINENESS
        share = 1.0 / sum([exp((point - most) * unit) for point in points])
        return Decision(
            self.classes[points.index(most)],
            along(self.curve, share) * belief(belonging * unit),
            depth * unit,
        )


@dataclass(frozen=True, slots=True)
class DifficultyModel:
    """A line through figures of a prompt; centre and spread are those of the prompts it was
    trained on.
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
    """What is shipped; `difficulty` is of questions with answers to choose from, `depth` of open
    prompts, by figures alone: what their words say comes from the task model.
    """

    task: TaskModel
    difficulty: DifficultyModel
    depth: DifficultyModel


@lru_cache(maxsize=1)
def shipped() -> Models:
    """The models of this package, read once a process (about 30 ms)."""
    return parse((files(__package__) / FILE).read_bytes())


def parse(stored: bytes) -> Models:
    """Models from their file: `task` {classes, bias, signals, points, words, meanings, unit,
    curve}, where `points` and `meanings` are whole numbers, one row a signal or a word, each worth
    `unit`; `difficulty` and `depth` {centre, weights, bias}.
    """
    told = orjson.loads(stored)
    return Models(
        _task(told["task"]),
        DifficultyModel(**_tuples(told["difficulty"])),
        DifficultyModel(**_tuples(told["depth"])),
    )


def _task(told: Mapping[str, Any]) -> TaskModel:
    unit: float = told["unit"]
    fine = _FINENESS
    return TaskModel(
        classes=tuple(map(TaskType, told["classes"])),
        bias=packed([round(points * fine / unit) for points in told["bias"]]),
        points={
            parsed(signal): packed([points * fine for points in row])
            for signal, row in zip(told["signals"], told["points"], strict=True)
        },
        meanings={
            word: packed(row) for word, row in zip(told["words"], told["meanings"], strict=True)
        },
        unit=unit,
        curve=tuple((share, right) for share, right in told["curve"]),
    )


def packed(row: Sequence[int]) -> int:
    """Whole numbers between -2**31 and 2**31, as one, of which sums can be made."""
    return sum(points << (_BITS * place) for place, points in enumerate(row))


def unpacked(total: int, count: int) -> list[int]:
    """The sums of `count` numbers that were packed."""
    places = _PLACES[count]
    shifted = places.unpack((total + _HALVES[count]).to_bytes(places.size, "little"))
    return [points - _HALF for points in shifted]


def belief(odds: float) -> float:
    """How far a prompt can be believed to fit a class, by the logarithm of its odds."""
    times = _WITH_A_CLASS * exp(max(-_EXTREME, min(_EXTREME, odds)))
    return times / (1.0 + times)


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
