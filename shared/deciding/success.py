"""The chance that a model answers a prompt well: from its quality and what the prompt needs. Pure.

A prior by the catalog's tiers, not a measurement: it orders models by what a dollar brings, and
how far its level is off hardly changes that order.
"""

from math import exp
from typing import Final

from shared.deciding.constraints import Candidate, rank
from shared.deciding.scoring import need_in_steps, quality_for
from shared.domain.decisions import Classification

# The quality at which half of the prompts without any need, and of those with all of it, are
# answered well; and how sharply that share rises with quality.
_BASE: Final = 0.10
_SLOPE: Final = 0.60
_SHARPNESS: Final = 0.16
# The tiers are an order, too, also in a catalog that gives all its models the same quality.
_OF_A_TIER: Final = 0.05
SEEN_WEAK: Final = 0.3
"""Of answers that are not good, the share that the deterministic checks see."""


def success(candidate: Candidate, classification: Classification) -> float:
    """The chance of a good answer at the first call, between 0 and 1."""
    quality = quality_for(candidate, classification.task_type)
    quality += _OF_A_TIER * rank(candidate.model.tier)
    margin = quality - _BASE - _SLOPE * need_in_steps(classification)
    return 1.0 / (1.0 + exp(-max(-8.0, min(8.0, margin / _SHARPNESS))))
