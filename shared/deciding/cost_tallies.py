"""What is kept of batches' answers for what is expected of the next ones: sums that fade. Pure.

A batch's answers resemble each other more than those of two batches do, so a thousand answers of
one batch teach little more about the next than ten: sums are kept per batch as well as per answer.
"""

from dataclasses import dataclass, fields
from math import log
from typing import Final, Self

HALF_LIFE_S: Final = 30 * 86_400.0
"""After this time a batch counts half."""
FRAME_BYTES: Final = 42
"""Of a stored request with one message, what is not the prompt."""

# What is left of the earlier ones after each batch: at most about ten count, so that a project
# whose work changes is followed.
_KEPT_EACH: Final = 0.9
# A batch of so many answers tells as much of its mean as of the noise in it.
_HALF_TOLD: Final = 10.0


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
