"""The chance that a model answers a prompt well: from its quality and what the prompt needs. Pure.

A prior by the catalog's tiers, moved by what was learned of the model (`learning`): it orders
models by what a dollar brings, and how far its level is off hardly changes that order.
"""

from math import exp
from typing import Final

from shared.catalog.spec import ModelSpec
from shared.deciding.constraints import Candidate, rank
from shared.deciding.scoring import need_in_steps, need_of_task, quality_for, quality_of
from shared.domain.decisions import Classification
from shared.domain.inference import TaskType, Tier

# The quality at which half of the prompts without any need, and of those with all of it, are
# answered well; and how sharply that share rises with quality.
_BASE: Final = 0.10
_SLOPE: Final = 0.60
QUALITY_PER_LOGIT: Final = 0.16
"""How much more quality it takes to raise the logarithm of a good answer's odds by one."""
# The tiers are an order, too, also in a catalog that gives all its models the same quality.
_OF_A_TIER: Final = 0.05
SEEN_WEAK: Final = 0.3
"""Of answers that are not good, the share that the deterministic checks see."""


def success(candidate: Candidate, classification: Classification) -> float:
    """The chance of a good answer at the first call, between 0 and 1."""
    quality = quality_for(candidate, classification.task_type)
    return _chance(quality, candidate.model.tier, need_in_steps(classification))


def success_of(
    model: ModelSpec, task_type: TaskType, difficulty: float, learned: float = 0.0
) -> float:
    """The same of prompts of this difficulty (0..1). learned: what own outcomes add to the model's
    quality; none before anything was learned.
    """
    need = need_of_task(task_type, difficulty)
    return _chance(quality_of(model, task_type) + learned, model.tier, need)


def _chance(quality: float, tier: Tier, need: float) -> float:
    margin = quality + _OF_A_TIER * rank(tier) - _BASE - _SLOPE * need
    return 1.0 / (1.0 + exp(-max(-8.0, min(8.0, margin / QUALITY_PER_LOGIT))))
