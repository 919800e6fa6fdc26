"""The score that orders models for one request: cost, latency, and fitness for its difficulty.

Each factor lies in 0..1 and is weighted by the preferences. The weights only choose among models
that are adequate, so that more weight on cost can never choose a dearer model.
"""

from collections.abc import Collection, Sequence
from math import exp, log10
from typing import Final

from shared.catalog.spec import ModelSpec
from shared.deciding.constraints import Candidate
from shared.domain.decisions import Classification
from shared.domain.inference import Preferences, TaskType, Tier

# Decades of cost between full marks and none: a mid tier costs about ten times a cheap one.
_COST_DECADES: Final = 2.5
_FREE: Final = 1.1  # a free model beats the cheapest paid one
_SLOW_S: Final = 10.0
_STRENGTH_BONUS: Final = 0.05
_SHARPNESS: Final = 0.08
# The quality at which a model fits a need half-way, in the terms of the catalog's priors.
_NEED_BASE: Final = 0.27
_NEED_SLOPE: Final = 0.55

# Of the types, those whose errors are hard to see in the answer start safer.
_TASK_NEED: Final = {
    TaskType.SIMPLE_QA: -0.08,
    TaskType.CREATIVE: -0.02,
    TaskType.ANALYSIS: 0.0,
    TaskType.CODING: 0.02,
    TaskType.COMPLEX_REASONING: 0.06,
}
_NEED_STEPS: Final = 32  # from 0 to 1
_DOUBT: Final = 0.15
# Below this confidence the kind of prompt is a guess: it starts where most kinds are safe.
_GUESSED_BELOW: Final = 0.5
_SAFE: Final = Tier.MID
_FLOORS: Final = ((0.82, Tier.HIGH), (0.52, Tier.MID))


def need_of(classification: Classification) -> float:
    """How much strength a prompt needs, about 0..1: its difficulty, more where we are unsure."""
    doubt = _DOUBT * (1.0 - classification.confidence)
    return need_of_task(classification.task_type, classification.difficulty) + doubt


def need_of_task(task_type: TaskType, difficulty: float) -> float:
    """The need of a prompt whose kind is certain."""
    return difficulty + _TASK_NEED[task_type]


def step_of_need(classification: Classification) -> int:
    """A prompt's need in whole steps: finer differences than this order no models."""
    return round(need_of(classification) * _NEED_STEPS)


def need_in_steps(classification: Classification) -> float:
    """The same need, as fine as it is told apart."""
    return step_of_need(classification) / _NEED_STEPS


def floor_of(classification: Classification) -> Tier:
    """The weakest tier that is adequate for a prompt; the safe one where we can only guess."""
    need = need_of(classification)
    for least, tier in _FLOORS:
        if need >= least:
            return tier
    return _SAFE if classification.confidence < _GUESSED_BELOW else Tier.CHEAP


def quality_for(candidate: Candidate, task_type: TaskType) -> float:
    """A model's quality for a task type, with what was learned of it there."""
    return quality_of(candidate.model, task_type) + candidate.learned


def quality_of(model: ModelSpec, task_type: TaskType) -> float:
    """A model's prior quality for a task type, with a bonus for a named strength."""
    return model.quality + (_STRENGTH_BONUS if task_type in model.strengths else 0.0)


def ranked(
    candidates: Sequence[Candidate],
    classification: Classification,
    weights: Preferences,
    preferred: Collection[str] = (),
) -> list[Candidate]:
    """Candidates, the preferred ones before the others, by falling score; of equals the cheaper,
    then by name.
    """
    paid = [candidate.expected_nusd for candidate in candidates if candidate.expected_nusd > 0]
    cheapest = min(paid, default=1)
    need = _NEED_BASE + _NEED_SLOPE * need_in_steps(classification)

    def score(candidate: Candidate) -> float:
        fitness = _fitness(quality_for(candidate, classification.task_type) - need)
        return (
            weights.cost * _thrift(candidate.expected_nusd, cheapest)
            + weights.latency * max(0.0, 1.0 - candidate.model.latency_s / _SLOW_S)
            + weights.quality * fitness
        )

    return sorted(
        candidates,
        key=lambda c: (c.model.name not in preferred, -score(c), c.expected_nusd, c.model.name),
    )


def usable(*preferences: Preferences | None) -> Preferences:
    """The first of these weights that says anything; the default where none does."""
    for weights in preferences:
        if weights is not None and weights.cost + weights.latency + weights.quality > 0:
            return weights
    return Preferences()


def _thrift(expected_nusd: int, cheapest: int) -> float:
    if expected_nusd <= 0:
        return _FREE
    return max(0.0, 1.0 - log10(expected_nusd / cheapest) / _COST_DECADES)


def _fitness(margin: float) -> float:
    return 1.0 / (1.0 + exp(-max(-8.0, min(8.0, margin / _SHARPNESS))))
