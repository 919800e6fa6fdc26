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
from dataclasses import dataclass, fields, replace
from math import exp, inf, log, sqrt
from typing import Final, Self

from shared.deciding.answer_kinds import MARKS, AnswerKind
from shared.domain.inference import Tier

HALF_LIFE_S: Final = 30 * 86_400.0
"""After this time a batch counts half."""
FRAME_BYTES: Final = 42
"""Of a stored request with one message, what is not the prompt."""

# What is left of the earlier ones after each batch: at most about ten count, so that a project
# whose work changes is followed.
_KEPT_EACH: Final = 0.9
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
# A batch of so many answers tells as much of its mean as of the noise in it.
_HALF_TOLD: Final = 10.0
# The share of weak answers before any was seen, and how many answers that is worth.
_WEAK: Final = {Tier.CHEAP: 0.12, Tier.MID: 0.06, Tier.HIGH: 0.03}
_WEAK_WEIGHT: Final = 8.0
# What teaches a template at all: the weight of a batch with some half a dozen answers of it.
_KNOWN: Final = 0.35
_TOKENS_PER_BYTE: Final = 0.25
_BYTES_WEIGHT: Final = 2_000.0
_LATENCY_WEIGHT: Final = 5.0


@dataclass(frozen=True, slots=True)
class BatchSums:
    """Sums over the paid answers of one model of one kind in one batch.

    output_squares: of their output tokens. input_bytes: of the stored requests, without the frame
    (`FRAME_BYTES` each). weak: answers that the judge refused. latency_ms: over `timed` answers.
    longest: the longest answer in tokens.
    """

    answers: int
    output_tokens: int
    output_squares: float
    input_tokens: int
    input_bytes: int
    weak: int
    latency_ms: int = 0
    timed: int = 0
    longest: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What is kept per model and kind: sums over batches, older ones for less.

    batches, log_mean, log_squares, noise, log_longest: sums over batches, each weighted by how well
    its mean is told (near 1 for more than a few dozen answers): the weight, the logarithm of its
    mean answer in tokens, that squared, the variance that chance alone gives that logarithm, and
    the logarithm of its longest answer.
    relative_squares: of the spread within batches, as a share of their means squared, per answer.
    """

    answers: float = 0.0
    relative_squares: float = 0.0
    input_tokens: float = 0.0
    input_bytes: float = 0.0
    weak: float = 0.0
    latency_ms: float = 0.0
    timed: float = 0.0
    batches: float = 0.0
    log_mean: float = 0.0
    log_squares: float = 0.0
    noise: float = 0.0
    log_longest: float = 0.0

    @classmethod
    def of(cls, sums: BatchSums) -> Self:
        """What one batch says."""
        if sums.answers < 1 or sums.output_tokens < 1:
            return cls()
        mean = sums.output_tokens / sums.answers
        relative = max(0.0, sums.output_squares / sums.answers / mean**2 - 1.0)
        weight = sums.answers / (sums.answers + _HALF_TOLD)
        told = log(mean)
        return cls(
            answers=sums.answers,
            relative_squares=relative * sums.answers,
            input_tokens=sums.input_tokens,
            input_bytes=sums.input_bytes,
            weak=sums.weak,
            latency_ms=sums.latency_ms,
            timed=sums.timed,
            batches=weight,
            log_mean=weight * told,
            log_squares=weight * told**2,
            noise=weight * relative / sums.answers,
            log_longest=weight * log(max(1, sums.longest, mean)),
        )

    def with_batch(self, batch: "Tally", passed_s: float) -> "Tally":
        """With another batch's say, `passed_s` seconds after the last one."""
        kept = _KEPT_EACH * 0.5 ** (max(0.0, passed_s) / HALF_LIFE_S)
        return self.times(kept).plus(batch)

    def times(self, share: float) -> "Tally":
        """All sums for this share of their worth."""
        return Tally(*(getattr(self, field.name) * share for field in fields(self)))

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(
            *(getattr(self, field.name) + getattr(other, field.name) for field in fields(self))
        )


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
        self._told: dict[tuple[str, str, str], Expectation] = {}
        self._between = _between_batches(self._learned(marked=False), _BATCH_SPREAD)
        self._between_alike = _between_batches(self._learned(marked=True), _TEMPLATE_SPREAD)

    def of(self, model: str, tier: Tier, kind: AnswerKind) -> Expectation:
        """What is expected of this model, which is of this tier, where this is asked for."""
        mark = self._known_mark(kind)
        key = model, kind.name, mark
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
        prior = log(kind.tokens), kind.doubt**2
        middle, doubt = _posterior(prior, others, between**2)
        middle, doubt = _posterior((middle, doubt + _DOUBT_BETWEEN_MODELS**2), own, between**2)
        weak, weak_doubt = _share(_WEAK[tier], own)
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


def is_mark(kind: str) -> bool:
    """Whether this is the mark of a template, and no kind's name."""
    return kind.startswith(MARKS)


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
    weak = _WEAK_WEIGHT * usual + own.weak
    good = _WEAK_WEIGHT * (1.0 - usual) + max(0.0, own.answers - own.weak)
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
