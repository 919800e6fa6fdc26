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
from shared.deciding.constraints import Candidate
from shared.deciding.estimation import Demand, max_tokens_for, rough_cost_nusd
from shared.deciding.routing_policy import NOTHING_LEARNED, Learned
from shared.deciding.success import success, success_of
from shared.domain.decisions import Classification, Verdict
from shared.domain.inference import Request, TaskType

JUDGE: Final = "agreement"
"""How its verdicts are signed."""

_AGREES: Final = (0.76, 0.14)
_OPEN: Final = frozenset({TaskType.CREATIVE, TaskType.CODING})
_COMPARABLE: Final = {
    TaskType.COMPLEX_REASONING: 0.9,
    TaskType.SIMPLE_QA: 0.7,
    TaskType.ANALYSIS: 0.3,
}
"""Of answers, the share that can be compared, by a guess: for plans, before any was seen."""
_LOWER: Final = frozenset({TaskType.SIMPLE_QA, TaskType.COMPLEX_REASONING})
_AS_GOOD: Final = 0.02
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
    learned: Learned = NOTHING_LEARNED,
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
    differs = differing(first, classification, learned)
    return peer if own + price + differs * climb < climb else None


def differing(
    first: ModelSpec, classification: Classification, learned: Learned = NOTHING_LEARNED
) -> float:
    """The chance that another cheap model says something else than this one."""
    kind = classification.task_type
    shift = learned.shift(first.name, kind)
    chance = success_of(first, kind, classification.difficulty, shift)
    return 1.0 - chance * _AGREES[0] - (1.0 - chance) * _AGREES[1]


def chance_to_compare(request: Request, task_type: TaskType) -> float:
    """How likely the answer can be compared at all, before it was seen."""
    if request.choices > 1 or request.embed is not None or request.stream:
        return 0.0
    return 1.0 if request.wants_json else _COMPARABLE.get(task_type, 0.0)


def starting_lower(request: Request, task_type: TaskType) -> tuple[bool, bool]:
    """Whether a request may start below what it needs, to be checked by agreement; and whether its
    answers vary, so that the same model may be asked twice.
    """
    fits = chance_to_compare(request, task_type) > 0.0 and not request.wants_tools
    return fits and (request.wants_json or task_type in _LOWER), request.temperature != 0


def pays_lower(
    candidates: Sequence[Candidate],
    usual: Candidate,
    classification: Classification,
    *,
    may_repeat: bool,
) -> bool:
    """Whether the first of these and another of them, and the usual model as often as they will
    differ, cost less than the usual model alone; and are as good: an answer that two agree on is
    right as often as the usual model's, or nearly. candidates: of a weaker tier, the best first.
    """
    first = candidates[0]
    others = [c.expected_nusd for c in candidates[1:]]
    if not others and not may_repeat:
        return False
    chance = success(first, classification)
    right, wrong = chance * _AGREES[0], (1.0 - chance) * _AGREES[1]
    agree = right + wrong
    spent = first.expected_nusd + min(others, default=first.expected_nusd)
    is_cheaper = spent + (1.0 - agree) * usual.expected_nusd < usual.expected_nusd
    return is_cheaper and right >= (success(usual, classification) - _AS_GOOD) * agree


def unchecked(first: Verdict, why: str) -> Verdict:
    """The verdict on an accepted answer that had to be checked and could not be."""
    return Verdict(accepted=False, score=_DOUBTED, reasons=(why, *first.reasons), judge=JUDGE)


def verdict_of(first: Verdict, own: str, other: str | None, peer: str) -> Verdict:
    """The verdict on an accepted answer once another one was seen; own, other: what they say."""
    if other is not None and other == own:
        return Verdict(accepted=True, score=first.score, reasons=first.reasons, judge=JUDGE)
    what = "gave no answer that can be compared" if other is None else "says something else"
    return Verdict(accepted=False, score=_DOUBTED, reasons=(f"{peer} {what}",), judge=JUDGE)
