"""How good a model's answers to a task type are, learned from what became of them. Pure.

An answer is good when it passes the checks and says what is right. The checks teach the first and
nothing of the second (what they pass is hardly more often right, see docs/evaluation.md): the share
that passes is counted. What is right is taught by what somebody said of an answer, and by whether
it agreed with a stronger model's: the posterior of that chance stands on a grid, for with evidence
of two kinds it has no closed form (0.1 ms).

Routing takes it cautiously: that a model is worse than its prior counts at once, that it is better
only as far as the evidence shows at 90 %. Evidence fades with time, and one batch, whose answers
resemble each other, counts no more than a hundred answers however long it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from math import exp, log
from typing import Final

from shared.catalog.spec import Catalog, ModelSpec
from shared.deciding.routing_policy import Learned
from shared.deciding.success import QUALITY_PER_LOGIT, success_of
from shared.domain.inference import TaskType

HALF_LIFE_S: Final = 30 * 86_400.0
"""After this time evidence counts half."""
_MOST_OF_A_BATCH: Final = 100.0
_PRIOR_WEIGHT: Final = 8.0  # answers that the catalog's prior is worth

# The chance that an answer agrees with a stronger model's, if it is right and if it is not: an 8B
# model beside a 70B one on 2,064 questions of MMLU-Pro.
_AGREES: Final = (0.87, 0.16)
_PASSING: Final = (19.0, 1.0)  # answers that passed and that were refused, before any was seen

_USUAL_DIFFICULTY: Final = 0.5
_SUREST: Final = 0.95  # of a prior
_LOW: Final = 0.1
_MOST_SHIFT: Final = 0.4  # of a quality: whatever was seen, the tiers stay tiers
_SHIFT_STEPS: Final = 100  # finer differences would only make every worker decide anew
_GRID: Final = tuple(1.0 / (1.0 + exp(-place / 8.0)) for place in range(-80, 81))
"""Chances, evenly by the logarithm of their odds."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What became of a model's answers to a task type; older ones for less.

    good, bad: what was said of them (a score of 0.7 is 0.7 good and 0.3 bad). agreed, differed:
    beside another model's answer. passed, refused: by the checks. difficulties, seen: the sum of
    the prompts' difficulties (0..1 each), and over how many.
    """

    good: float = 0.0
    bad: float = 0.0
    agreed: float = 0.0
    differed: float = 0.0
    passed: float = 0.0
    refused: float = 0.0
    difficulties: float = 0.0
    seen: float = 0.0

    @property
    def answers(self) -> float:
        """How much was seen, in answers; one may count in two kinds."""
        return self.good + self.bad + self.agreed + self.differed + self.passed + self.refused

    def times(self, share: float) -> "Evidence":
        """All of it for this share of its worth."""
        return Evidence(*(getattr(self, field.name) * share for field in fields(self)))

    def plus(self, other: "Evidence") -> "Evidence":
        """Both together."""
        return Evidence(
            *(getattr(self, field.name) + getattr(other, field.name) for field in fields(self))
        )

    def of_one_batch(self) -> "Evidence":
        """What a batch may say: its answers resemble each other, so many count little more."""
        return self.times(_MOST_OF_A_BATCH / (_MOST_OF_A_BATCH + self.answers))

    def after(self, passed_s: float) -> "Evidence":
        """What is left of it when so many seconds have passed."""
        return self.times(0.5 ** (max(0.0, passed_s) / HALF_LIFE_S))


@dataclass(frozen=True, slots=True)
class Estimate:
    """The chance of a good answer, 0..1. prior: before anything was seen. mean, low: of the
    posterior, and what it exceeds at 90 %. used: what routing goes by.
    """

    prior: float
    mean: float
    low: float

    @property
    def used(self) -> float:
        """The mean where that is bad news; of good news what is certain."""
        return self.mean if self.mean < self.prior else max(self.prior, self.low)

    @property
    def quality_shift(self) -> float:
        """What routing adds to the model's quality for it, in hundredths."""
        shift = QUALITY_PER_LOGIT * (_logit(self.used) - _logit(self.prior))
        bounded = max(-_MOST_SHIFT, min(_MOST_SHIFT, shift))
        return round(bounded * _SHIFT_STEPS) / _SHIFT_STEPS


def estimate(model: ModelSpec, task_type: TaskType, evidence: Evidence) -> Estimate:
    """What is known of a model on a task type, for prompts as difficult as those it was seen
    with.
    """
    seen = evidence.seen
    difficulty = evidence.difficulties / seen if seen > 0.0 else _USUAL_DIFFICULTY
    return _posterior(round(success_of(model, task_type, difficulty), 3), evidence)


def learned_of(seen: Mapping[tuple[str, TaskType], Evidence], catalog: Catalog) -> Learned:
    """What routing takes from a project's evidence, as it stands now."""
    found = []
    for (name, task_type), evidence in sorted(seen.items()):
        model = catalog.models.get(name)
        if model is None or model.embeds:
            continue
        shift = estimate(model, task_type, evidence).quality_shift
        if shift:
            found.append((name, task_type, shift))
    return Learned(tuple(found))


@lru_cache(maxsize=2048)
def _posterior(prior: float, evidence: Evidence) -> Estimate:
    passed, refused = _PASSING
    usual = passed / (passed + refused)
    passes = (passed + evidence.passed) / (passed + refused + evidence.passed + evidence.refused)
    right = min(_SUREST, prior / usual)
    mean, low = _right(right, evidence)
    before, _ = _right(right, Evidence())
    return Estimate(usual * before, passes * mean, passes * low)


def _right(prior: float, evidence: Evidence) -> tuple[float, float]:
    """Mean and low bound of the chance that what an answer says is right."""
    logs = []
    for chance in _GRID:
        agrees = chance * _AGREES[0] + (1.0 - chance) * _AGREES[1]
        logs.append(
            (evidence.good + _PRIOR_WEIGHT * prior) * log(chance)
            + (evidence.bad + _PRIOR_WEIGHT * (1.0 - prior)) * log(1.0 - chance)
            + evidence.agreed * log(agrees)
            + evidence.differed * log(1.0 - agrees)
        )
    most = max(logs)
    weights = [exp(value - most) for value in logs]
    total = sum(weights)
    mean = sum(chance * weight for chance, weight in zip(_GRID, weights, strict=True)) / total
    reached, below = 0.0, _GRID[0]
    for chance, weight in zip(_GRID, weights, strict=True):
        reached += weight
        if reached >= _LOW * total:
            break
        below = chance
    return mean, below


def _logit(chance: float) -> float:
    return log(chance / (1.0 - chance))
