"""What an answer is expected to cost a batch: learned per model and kind of answer. Pure.

A batch is written from one template more often than not, so its answers resemble each other more
than those of two batches do: a group's answers are not independent, and a thousand answers of one
batch teach little more about the next batch than ten. What is kept is therefore told per batch (the
logarithm of its mean answer) as well as per answer (the spread within a batch), and old batches
fade. Where nothing was learned the priors below stand, with a doubt as large as they deserve.

Kinds (`answer_kinds`) come on two levels. What a prompt asks for, or its task type, is known of
nearly every prompt; the template it is made from only where an earlier batch had it. What the
template taught stands over what its kind taught, and that over the prior.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import exp, inf, log, sqrt
from typing import Final

from shared.deciding.answer_kinds import AnswerKind, is_mark, limit_of
from shared.deciding.cost_tallies import Tally
from shared.deciding.habits import WEAK_WEIGHT, Habits
from shared.domain.inference import Tier

# How far what is known may be off, as the standard deviation of a logarithm: a model beside the
# others on the same kind, and a template beside its kind.
_DOUBT_BETWEEN_MODELS: Final = 0.4
_DOUBT_OF_TEMPLATE: Final = 0.6
# The spread between batches, and how many batches this prior is worth; batches of one template
# resemble each other more.
_BATCH_SPREAD: Final = 0.25
_TEMPLATE_SPREAD: Final = 0.12
_BATCH_SPREAD_WEIGHT: Final = 3.0
# The spread of answers within a batch as a share of their mean, and its worth in answers.
_SPREAD: Final = 0.8
_SPREAD_WEIGHT: Final = 10.0
# What teaches a template at all: the weight of a batch with some half a dozen answers of it.
_KNOWN: Final = 0.35
_TOKENS_PER_BYTE: Final = 0.25
_BYTES_WEIGHT: Final = 2_000.0
_LATENCY_WEIGHT: Final = 5.0


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of one model's answers of one kind.

    group: what was learned together, and so is wrong together. output_tokens: a batch's mean
    answer, in the median of batches, no answer longer than `longest`: where less is allowed, it is
    shorter. spread: standard deviation of an answer within its batch as a share of its mean.
    between: of the logarithm of a batch's mean answer beside those of other batches; degrees: how
    many batches that figure is worth. doubt: standard deviation of what is not known of the
    logarithm of `output_tokens`. weak: the chance that an answer is refused by the judge;
    weak_doubt: what is not known of it, as a share of it. latency_s: None where none was seen.
    """

    group: str
    output_tokens: float
    longest: float
    spread: float
    between: float
    degrees: float
    doubt: float
    weak: float
    weak_doubt: float
    tokens_per_byte: float
    latency_s: float | None


class Expectations:
    """What was learned, asked by model and kind of answer."""

    def __init__(self, tallies: Mapping[tuple[str, str], Tally] | None = None) -> None:
        """`tallies`: by model and by a kind's name or mark."""
        self._by_kind: dict[str, dict[str, Tally]] = defaultdict(dict)
        for (model, kind), tally in (tallies or {}).items():
            self._by_kind[kind][model] = tally
        self._habits = Habits(self._by_kind)
        self._told: dict[tuple[str, str, int, str], Expectation] = {}
        self._between = _between_batches(self._learned(marked=False), _BATCH_SPREAD)
        self._between_alike = _between_batches(self._learned(marked=True), _TEMPLATE_SPREAD)

    def of(self, model: str, tier: Tier, kind: AnswerKind) -> Expectation:
        """What is expected of this model, which is of this tier, where this is asked for."""
        mark = self._known_mark(kind)
        key = model, kind.name, round(kind.tokens), mark
        told = self._told.get(key)
        if told is None:
            told = self._plain(model, tier, kind)
            if mark:
                told = self._marked(told, model, mark)
            self._told[key] = told
        return told

    def _known_mark(self, kind: AnswerKind) -> str:
        """Of the marks that a prompt has the one by which most is known; empty where nothing is."""
        known, best = _KNOWN, ""
        for mark in kind.marks:
            seen = self._by_kind.get(mark)
            if seen is not None and (told := sum(t.batches for t in seen.values())) > known:
                known, best = told, mark
        return best

    def _plain(self, model: str, tier: Tier, kind: AnswerKind) -> Expectation:
        own, others = self._own_and_others(model, kind.name)
        between, degrees = self._between
        if kind.limits is not None and own.batches + others.batches < _KNOWN:
            return self._limited(self._plain(model, tier, kind.limits), kind)
        middle, doubt = _posterior(self._habits.length(kind), others, between**2)
        middle, doubt = _posterior((middle, doubt + _DOUBT_BETWEEN_MODELS**2), own, between**2)
        weak, weak_doubt = _share(self._habits.weak(model, tier, kind.name), own)
        read = [
            seen[model]
            for name, seen in self._by_kind.items()
            if model in seen and not is_mark(name)
        ]
        tokens = _TOKENS_PER_BYTE * _BYTES_WEIGHT + sum(tally.input_tokens for tally in read)
        return Expectation(
            group=kind.name,
            output_tokens=exp(middle),
            longest=_longest(own, others),
            spread=_spread(_SPREAD, own),
            between=between,
            degrees=degrees,
            doubt=sqrt(doubt),
            weak=weak,
            weak_doubt=weak_doubt,
            tokens_per_byte=tokens / (_BYTES_WEIGHT + sum(tally.input_bytes for tally in read)),
            latency_s=_latency(own),
        )

    def _limited(self, unlimited: Expectation, kind: AnswerKind) -> Expectation:
        """What a small limit leaves: it cuts what is expected without it, unless other limits were
        heeded in the project.
        """
        told = replace(unlimited, group=kind.name)
        if not self._habits.heeds_limits(kind.name):
            return told
        least = limit_of(kind.name)
        length = min(unlimited.output_tokens, 1.5 * least)
        return replace(told, output_tokens=length, longest=min(length, least))

    def _marked(self, plain: Expectation, model: str, mark: str) -> Expectation:
        """What the template says, over what its kind says."""
        own, others = self._own_and_others(model, mark)
        between, degrees = self._between_alike
        prior = log(plain.output_tokens), plain.doubt**2 + _DOUBT_OF_TEMPLATE**2
        middle, doubt = _posterior(prior, others, between**2 + _DOUBT_BETWEEN_MODELS**2)
        middle, doubt = _posterior((middle, doubt), own, between**2)
        weak, weak_doubt = _share(plain.weak, own)
        return replace(
            plain,
            group=mark,
            output_tokens=exp(middle),
            longest=_longest(own, others),
            spread=_spread(plain.spread, own),
            between=between,
            degrees=degrees,
            doubt=sqrt(doubt),
            weak=weak,
            weak_doubt=weak_doubt,
            latency_s=_latency(own) or plain.latency_s,
        )

    def _learned(self, *, marked: bool) -> list[Tally]:
        """Of all templates, or of all kinds."""
        by_kind = self._by_kind.items()
        return [t for kind, own in by_kind if is_mark(kind) is marked for t in own.values()]

    def _own_and_others(self, model: str, kind: str) -> tuple[Tally, Tally]:
        seen = self._by_kind.get(kind, {})
        others = Tally()
        for name, tally in seen.items():
            if name != model:
                others = others.plus(tally)
        return seen.get(model, Tally()), others


def _posterior(prior: tuple[float, float], seen: Tally, variance: float) -> tuple[float, float]:
    """Mean and variance of a normal mean after what was seen, with this variance per batch."""
    mean, doubt = prior
    precision = 1.0 / doubt + seen.batches / variance
    return (mean / doubt + seen.log_mean / variance) / precision, 1.0 / precision


def _longest(own: Tally, others: Tally) -> float:
    both = own.plus(others)
    return exp(both.log_longest / both.batches) if both.batches > _KNOWN else inf


def _spread(usual: float, own: Tally) -> float:
    squares = usual**2 * _SPREAD_WEIGHT + own.relative_squares
    return sqrt(squares / (_SPREAD_WEIGHT + own.answers))


def _share(usual: float, own: Tally) -> tuple[float, float]:
    """The chance of a weak answer, and its standard deviation as a share of it."""
    weak = WEAK_WEIGHT * usual + own.weak
    good = WEAK_WEIGHT * (1.0 - usual) + max(0.0, own.answers - own.weak)
    return weak / (weak + good), sqrt(good / (weak * (weak + good + 1.0)))


def _latency(own: Tally) -> float | None:
    return own.latency_ms / own.timed / 1000.0 if own.timed >= _LATENCY_WEIGHT else None


def _between_batches(tallies: Iterable[Tally], usual: float) -> tuple[float, float]:
    """The spread between batches of a group, over all groups, and its degrees of freedom."""
    squares = usual**2 * _BATCH_SPREAD_WEIGHT
    degrees = _BATCH_SPREAD_WEIGHT
    for tally in tallies:
        if tally.batches > 1.0:
            free = tally.batches - 1.0
            own = tally.log_squares - tally.log_mean**2 / tally.batches
            squares += max(0.0, own - tally.noise * free / tally.batches)
            degrees += free
    return sqrt(squares / degrees), degrees
