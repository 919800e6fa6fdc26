"""Agreement as a judge: whether a second cheap answer is worth asking for, and of whom. Pure.

The checks see no wrong content; that another cheap model says something else is the best sign of it
there is. It needs answers that can be compared, and it pays by price: two cheap answers, and the
stronger model's as often as they will differ, must cost less than asking the stronger model. How
often they will differ follows from the chance that the first is right; on 2,064 questions of
MMLU-Pro an 8B model agreed with 0.76 of a 7B model's right answers and 0.14 of its wrong ones.
"""

from collections.abc import Sequence
from typing import Final

from shared.catalog.spec import ModelSpec
from shared.deciding.comparing import answer_key, is_stated
from shared.deciding.estimation import Demand, max_tokens_for, rough_cost_nusd
from shared.deciding.success import success_of
from shared.domain.decisions import Classification, Verdict
from shared.domain.inference import Request, TaskType

JUDGE: Final = "agreement"
"""How its verdicts are signed."""

_AGREES: Final = (0.76, 0.14)
_OPEN: Final = frozenset({TaskType.CREATIVE, TaskType.CODING})
_DOUBTED: Final = 0.6
"""What an answer is still worth when another model says something else."""


def key_for(request: Request, text: str, task_type: TaskType) -> str | None:
    """What an answer with this text says, where it can be compared; None where it cannot.

    Of a long text, only what stands where an answer stands, or the last number of a calculation:
    two essays that end in the same year do not agree.
    """
    if not text or request.choices > 1 or request.embed is not None:
        return None
    if request.wants_json:
        return answer_key(text)
    if task_type in _OPEN:
        return None
    if task_type is not TaskType.COMPLEX_REASONING and not is_stated(text):
        return None
    return answer_key(text)


def peer_for(
    request: Request,
    classification: Classification,
    demand: Demand,
    models: tuple[ModelSpec, Sequence[ModelSpec], ModelSpec],
    default_max_tokens: int,
) -> str | None:
    """Who checks the first model's answer; None where it does not pay.

    models: the first one, those of its tier besides, and the one that would be climbed to. Another
    model is asked before the same one again, which makes the same mistakes; and that one only where
    its answers vary.
    """
    first, others, stronger = models

    def cost(model: ModelSpec) -> int | None:
        limit = max_tokens_for(request, demand, model, default_max_tokens)
        return None if limit is None else rough_cost_nusd(demand, model, limit)

    priced = [(price, model.name) for model in others if (price := cost(model)) is not None]
    if not priced and request.temperature != 0 and (again := cost(first)) is not None:
        priced = [(again, first.name)]
    own, climb = cost(first), cost(stronger)
    if not priced or own is None or climb is None:
        return None
    price, peer = min(priced)
    chance = success_of(first, classification.task_type, classification.difficulty)
    differs = 1.0 - chance * _AGREES[0] - (1.0 - chance) * _AGREES[1]
    return peer if own + price + differs * climb < climb else None


def verdict_of(first: Verdict, own: str, other: str | None, peer: str) -> Verdict:
    """The verdict on an accepted answer once another one was seen; own, other: what they say."""
    if other is not None and other == own:
        return Verdict(accepted=True, score=first.score, reasons=first.reasons, judge=JUDGE)
    what = "gave no answer that can be compared" if other is None else "says something else"
    return Verdict(accepted=False, score=_DOUBTED, reasons=(f"{peer} {what}",), judge=JUDGE)
