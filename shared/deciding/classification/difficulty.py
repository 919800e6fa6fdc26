"""How hard a prompt looks: depth, several steps, bonds, and length, which soon stops counting.

A prompt carries little signal about who can answer it; this is a prior for where to start, and the
judging of answers corrects it.
"""

from math import log1p
from typing import Final

from shared.deciding.classification.features import Features
from shared.deciding.classification.vocabulary import BOUNDS, DEPTH, EASE, STEPS
from shared.domain.inference import TaskType

_BASE: Final = {
    TaskType.SIMPLE_QA: 0.10,
    TaskType.CREATIVE: 0.26,
    TaskType.ANALYSIS: 0.26,
    TaskType.CODING: 0.28,
    TaskType.COMPLEX_REASONING: 0.34,
}

# Above this many words a prompt gets no harder by being longer: it quotes more.
_LONG: Final = 400


def difficulty_of(features: Features, task_type: TaskType) -> float:
    """A difficulty between 0 and 1."""
    distinct = features.distinct
    cues = (
        0.09 * min(4, len(distinct & DEPTH)),
        0.03 * min(4, len(distinct & BOUNDS)),
        0.03 * min(4, len(distinct & STEPS)),
        0.04 * min(3, features.items // 2),
        0.04 * min(2, max(0, features.questions - 1)),
        0.02 * min(6, features.formulas),
        0.16 * min(1.0, log1p(features.word_count) / log1p(_LONG)),
        -0.05 * min(2, len(distinct & EASE)),
    )
    return max(0.0, min(1.0, _BASE[task_type] + sum(cues)))
