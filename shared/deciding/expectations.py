"""What an answer is expected to cost a batch: learned per model and task type from cost rows. Pure.

A batch is written from one template more often than not, so its answers resemble each other more
than those of two batches do: a group's answers are not independent, and a thousand answers of one
batch teach little more about the next batch than ten. What is kept is therefore told per batch (the
logarithm of its mean answer) as well as per answer (the spread within a batch), and old batches
fade. Where nothing was learned the priors below stand, with a doubt as large as they deserve.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from math import exp, log, sqrt
from typing import Final, Self

from shared.deciding.estimation import EXPECTED_OUTPUT_TOKENS
from shared.domain.inference import TaskType

HALF_LIFE_S: Final = 30 * 86_400.0
"""After this time a batch counts half."""
FRAME_BYTES: Final = 42
"""Of a stored request with one message, what is not the prompt."""

# What is left of the earlier ones after each batch: at most about ten count, so that a project
# whose work changes is followed.
_KEPT_EACH: Final = 0.9
# How far a prior may be off, as the standard deviation of a logarithm: that of a task type before
# anything is known, and that of a model beside the others on the same task type.
_DOUBT_OF_PRIOR: Final = 0.8
_DOUBT_BETWEEN_MODELS: Final = 0.4
# The spread between batches, and how many batches this prior is worth.
_BATCH_SPREAD: Final = 0.25
_BATCH_SPREAD_WEIGHT: Final = 3.0
# The spread of answers within a batch as a share of their mean, and its worth in answers.
_SPREAD: Final = 0.8
_SPREAD_WEIGHT: Final = 10.0
# A batch of so many answers tells as much of its mean as of the noise in it.
_HALF_TOLD: Final = 10.0
_WEAK: Final = (1.0, 6.0)  # weak and good answers, before any was seen
_TOKENS_PER_BYTE: Final = 0.25
_BYTES_WEIGHT: Final = 2_000.0
_LATENCY_WEIGHT: Final = 5.0


@dataclass(frozen=True, slots=True)
class BatchSums:
    """Sums over the paid answers of one model to one task type in one batch.

    output_squares: of their output tokens. input_bytes: of the stored requests, without the frame
    (`FRAME_BYTES` each). weak: answers that the judge refused. latency_ms: over `timed` answers.
    """

    answers: int
    output_tokens: int
    output_squares: float
    input_tokens: int
    input_bytes: int
    weak: int
    latency_ms: int = 0
    timed: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What is kept per model and task type: sums over batches, older ones for less.

    batches, log_mean, log_squares, noise: sums over batches, each weighted by how well its mean is
    told (near 1 for more than a few dozen answers): the weight, the logarithm of its mean answer in
    tokens, that squared, and the variance that chance alone gives that logarithm.
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
    """What is expected of one model's answers to one task type.

    output_tokens: a batch's mean answer, in the median of batches. spread: standard deviation of an
    answer within its batch as a share of its mean. doubt: standard deviation of what is not known
    of the logarithm of `output_tokens`. weak: the chance that an answer is refused by the judge;
    weak_doubt: what is not known of it, as a share of it. latency_s: None where none was seen.
    """

    output_tokens: float
    spread: float
    doubt: float
    weak: float
    weak_doubt: float
    tokens_per_byte: float
    latency_s: float | None


class Expectations:
    """What was learned, asked by model and task type."""

    def __init__(self, tallies: Mapping[tuple[str, TaskType], Tally] | None = None) -> None:
        self._tallies = dict(tallies or {})
        self._told: dict[tuple[str, TaskType], Expectation] = {}
        deviation, degrees = _between_batches(self._tallies.values())
        self.batch_spread: float = deviation
        """Standard deviation of the logarithm of a batch's mean answer within its group."""
        self.degrees: float = degrees
        """How many batches that figure is worth: the degrees of freedom of its estimate."""

    def of(self, model: str, task_type: TaskType) -> Expectation:
        """What is expected of this model on this task type."""
        key = (model, task_type)
        told = self._told.get(key)
        if told is None:
            told = self._told[key] = self._of(model, task_type)
        return told

    def _of(self, model: str, task_type: TaskType) -> Expectation:
        own = self._tallies.get((model, task_type), Tally())
        others, of_model = Tally(), own
        for (name, task), tally in self._tallies.items():
            if task is task_type and name != model:
                others = others.plus(tally)
            elif name == model and task is not task_type:
                of_model = of_model.plus(tally)
        variance = self.batch_spread**2
        prior = log(EXPECTED_OUTPUT_TOKENS[task_type]), _DOUBT_OF_PRIOR**2
        middle, doubt = _posterior(prior, others, variance)
        middle, doubt = _posterior((middle, doubt + _DOUBT_BETWEEN_MODELS**2), own, variance)
        relative = (_SPREAD**2 * _SPREAD_WEIGHT + own.relative_squares) / (
            _SPREAD_WEIGHT + own.answers
        )
        weak, good = _WEAK[0] + own.weak, _WEAK[1] + max(0.0, own.answers - own.weak)
        read = _TOKENS_PER_BYTE * _BYTES_WEIGHT + of_model.input_tokens
        return Expectation(
            output_tokens=exp(middle),
            spread=sqrt(relative),
            doubt=sqrt(doubt),
            weak=weak / (weak + good),
            weak_doubt=sqrt(good / (weak * (weak + good + 1.0))),
            tokens_per_byte=read / (_BYTES_WEIGHT + of_model.input_bytes),
            latency_s=own.latency_ms / own.timed / 1000.0 if own.timed >= _LATENCY_WEIGHT else None,
        )


def _posterior(prior: tuple[float, float], seen: Tally, variance: float) -> tuple[float, float]:
    """Mean and variance of a normal mean after what was seen, with this variance per batch."""
    mean, doubt = prior
    precision = 1.0 / doubt + seen.batches / variance
    return (mean / doubt + seen.log_mean / variance) / precision, 1.0 / precision


def _between_batches(tallies: Iterable[Tally]) -> tuple[float, float]:
    """The spread between batches of a group, over all groups, and its degrees of freedom."""
    squares = _BATCH_SPREAD**2 * _BATCH_SPREAD_WEIGHT
    degrees = _BATCH_SPREAD_WEIGHT
    for tally in tallies:
        if tally.batches > 1.0:
            free = tally.batches - 1.0
            own = tally.log_squares - tally.log_mean**2 / tally.batches
            squares += max(0.0, own - tally.noise * free / tally.batches)
            degrees += free
    return sqrt(squares / degrees), degrees
