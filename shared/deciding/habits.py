"""What a project's answers have in common, for kinds of answer of which none was seen yet. Pure.

Whoever writes long answers to one kind of prompt writes long ones to another; a model whose answers
are often refused is so everywhere; and where answers take no notice of the length that prompts ask
for, the next wish will not be heard either.
"""

from collections.abc import Iterable, Mapping
from math import log
from typing import Final

from shared.deciding.answer_kinds import LIMITED, TASKS, AnswerKind, is_mark, usual_tokens
from shared.deciding.cost_tallies import Tally
from shared.domain.inference import Tier

# How much of a kind's deviation from its usual length all kinds share: the variance between kinds
# over that between projects.
_KINDS_APART: Final = 1.5
# Of a logarithm, squared: so far may answers lie from what was asked for, and still heed it.
_HEEDED: Final = 0.25
_DOUBT_UNHEEDED: Final = 0.8
_DOUBT_HEEDED: Final = 0.7
# Of the answers under small limits: where more are weak than this, the limits cut them off.
_CUT_OFF: Final = 0.4
# The share of weak answers before any was seen, and how many answers that is worth.
_WEAK: Final = {Tier.CHEAP: 0.12, Tier.MID: 0.06, Tier.HIGH: 0.03}
WEAK_WEIGHT: Final = 8.0
_MOST_FROM_OTHERS: Final = 20.0  # answers that other kinds, or other models, count for at most


class Habits:
    """What is usual in a project, by kind and model; seen: every kind's tallies, by model."""

    def __init__(self, seen: Mapping[str, Mapping[str, Tally]]) -> None:
        self._seen = {kind: own for kind, own in seen.items() if not is_mark(kind)}
        # For each kind with a usual length: its weight, and the logarithm of its mean answer.
        self._told: dict[str, tuple[float, float]] = {}
        for kind, own in self._seen.items():
            weight = sum(tally.batches for tally in own.values())
            if weight > 0.0 and usual_tokens(kind) is not None:
                mean = sum(tally.log_mean for tally in own.values()) / weight
                self._told[kind] = min(1.0, weight), mean
        weights = sum(weight for weight, _ in self._told.values())
        self._middle = sum(w * mean for w, mean in self._told.values()) / (weights or 1.0)
        self._heeds = self._are_wishes_heeded()

    def length(self, kind: AnswerKind) -> tuple[float, float]:
        """The logarithm of a usual answer of this kind, and the variance of what that is off, by
        all that is known of other kinds.
        """
        if kind.name in TASKS:
            return log(kind.tokens) + self._common(kind.name), kind.doubt**2
        if not self._heeds and usual_tokens(kind.name) is not None:
            return self._middle, _DOUBT_UNHEEDED**2
        known = _DOUBT_HEEDED if self._told.keys() - TASKS else kind.doubt
        return log(kind.tokens), min(known, kind.doubt) ** 2

    def heeds_limits(self, kind: str) -> bool:
        """Whether so few answers under other limits than this kind's are weak that limits seem to
        be heeded rather than to cut answers off.
        """
        seen = _added(
            tally
            for name, own in self._seen.items()
            if name.startswith(LIMITED) and name != kind
            for tally in own.values()
        )
        return seen.answers >= WEAK_WEIGHT and seen.weak <= _CUT_OFF * seen.answers

    def weak(self, model: str, tier: Tier, kind: str) -> float:
        """The usual share of weak answers of a model, by its answers of other kinds and by other
        models' answers of this one.
        """
        elsewhere = _added(
            own[model]
            for name, own in self._seen.items()
            if name != kind and model in own and not name.startswith(LIMITED)
        )
        here = _added(t for name, t in self._seen.get(kind, {}).items() if name != model)
        weak, answers = WEAK_WEIGHT * _WEAK[tier], WEAK_WEIGHT
        for seen in (elsewhere, here):
            share = min(1.0, _MOST_FROM_OTHERS / max(1.0, seen.answers))
            weak += share * seen.weak
            answers += share * seen.answers
        return min(0.99, max(0.005, weak / answers))

    def _common(self, kind: str) -> float:
        """How much longer answers are here than usual, as the logarithm, by the other kinds."""
        off, weights = 0.0, _KINDS_APART
        for name, (weight, mean) in self._told.items():
            usual = usual_tokens(name)
            if name != kind and usual is not None and (name in TASKS or not self._heeds):
                off += weight * (mean - log(usual))
                weights += weight
        return off / weights

    def _are_wishes_heeded(self) -> bool:
        """Whether answers lie nearer to what was asked for than to all others' middle."""
        wished = away = 0.0
        for name, (weight, mean) in self._told.items():
            usual = usual_tokens(name)
            if usual is None or name in TASKS:
                continue
            wished += weight * ((mean - log(usual)) ** 2 - _HEEDED)
            away += weight * (mean - self._middle) ** 2
        return wished <= away


def _added(tallies: Iterable[Tally]) -> Tally:
    added = Tally()
    for tally in tallies:
        added = added.plus(tally)
    return added
