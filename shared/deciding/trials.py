"""Two policies tried side by side on a project's jobs: who gets which, and what that showed. Pure.

A job's arm follows from a hash of its id, so it is the same whoever asks and however often, and the
jobs of one batch are dealt to both arms at random. Means are compared by Welch's test, taken as
normal: below some thirty jobs an arm it says too much, and nothing is said at all. Whoever looks
every day and stops at the first significant day is wrong more often than in 5 of 100 cases.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import erfc, sqrt
from typing import Any, Final
from zlib import crc32

LEAST_JOBS: Final = 30
MISTAKEN: Final = 0.05
_HASHES: Final = 2**32


class Arm(StrEnum):
    """`a`: the project's own policy; `b`: the one that is tried."""

    A = "a"
    B = "b"


def arm_of(trial: str, job_id: int, share: float) -> Arm:
    """The arm of a job; share: of the jobs that go to b."""
    return Arm.B if crc32(f"{trial}:{job_id}".encode()) < share * _HASHES else Arm.A


@dataclass(frozen=True, slots=True)
class Sums:
    """A figure over jobs: how many, its sum, and the sum of its squares."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float | None:
        """None of no jobs."""
        return self.total / self.count if self.count else None

    @property
    def variance_of_mean(self) -> float:
        """By the sample's variance; 0 of fewer than two."""
        if self.count < 2:  # noqa: PLR2004  (a variance takes two)
            return 0.0
        mean = self.total / self.count
        return max(0.0, self.squares / self.count - mean**2) / (self.count - 1)


@dataclass(frozen=True, slots=True)
class Difference:
    """Of the means, b less a. error: half of the interval that holds the true one at 95 %. p: how
    likely so large a difference is by chance. None of both where there are too few jobs.
    """

    value: float | None
    error: float | None = None
    p: float | None = None

    @property
    def is_significant(self) -> bool:
        """Whether chance alone would hardly do it."""
        return self.p is not None and self.p < MISTAKEN

    def to_dict(self) -> dict[str, Any]:
        """The form that is shown."""
        return {
            "value": self.value,
            "error_95": self.error,
            "p": None if self.p is None else round(self.p, 5),
            "significant": self.is_significant,
        }


def difference(a: Sums, b: Sums) -> Difference:
    """Whether b's mean differs from a's."""
    if a.mean is None or b.mean is None:
        return Difference(None)
    value = b.mean - a.mean
    if min(a.count, b.count) < LEAST_JOBS:
        return Difference(value)
    error = sqrt(a.variance_of_mean + b.variance_of_mean)
    if error == 0.0:
        return Difference(value, 0.0, 1.0 if value == 0.0 else 0.0)
    return Difference(value, 1.96 * error, erfc(abs(value) / error / sqrt(2.0)))


def better(differences: Mapping[str, Difference]) -> tuple[Arm | None, str]:
    """Which policy is better, and why: by what people said of the answers, else by what the checks
    said, else by cost. None where neither is shown to be.
    """
    for figure, more_is_better in (("feedback", True), ("accepted", True), ("cost_nusd", False)):
        found = differences[figure]
        if found.is_significant and found.value is not None:
            return (Arm.B if (found.value > 0) == more_is_better else Arm.A), figure
    return None, "nothing differs more than chance may do"
