"""A batch's states and moves, OpenAI's words; and its count of jobs by state."""

from enum import StrEnum
from typing import Final


class BatchStatus(StrEnum):
    """Where a batch stands (OpenAI's eight words)."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


class BatchVerb(StrEnum):
    """What can happen to a batch."""

    SEAL = "seal"  # its last line is in; the jobs may run
    REJECT = "reject"  # nothing of it can run
    CLOSE = "close"  # its last job ended
    CANCEL = "cancel"  # somebody called it off
    EXPIRE = "expire"  # its completion window is over
    REOPEN = "reopen"  # failed jobs are tried again


S = BatchStatus
V = BatchVerb

MOVES: Final[dict[tuple[BatchStatus, BatchVerb], BatchStatus]] = {
    (S.VALIDATING, V.SEAL): S.IN_PROGRESS,
    (S.VALIDATING, V.REJECT): S.FAILED,
    (S.VALIDATING, V.CANCEL): S.CANCELLING,
    (S.IN_PROGRESS, V.CANCEL): S.CANCELLING,
    (S.IN_PROGRESS, V.EXPIRE): S.FINALIZING,
    (S.IN_PROGRESS, V.CLOSE): S.COMPLETED,
    (S.FINALIZING, V.CLOSE): S.EXPIRED,
    (S.CANCELLING, V.CLOSE): S.CANCELLED,
    (S.COMPLETED, V.REOPEN): S.IN_PROGRESS,
}
"""FINALIZING is where an expired batch waits for its calls in flight: nothing new is started."""

TERMINAL: Final = frozenset({S.COMPLETED, S.FAILED, S.EXPIRED, S.CANCELLED})
OPEN: Final = frozenset({S.VALIDATING, S.IN_PROGRESS, S.FINALIZING, S.CANCELLING})


class Priority(StrEnum):
    """Which queue a batch's chunks take."""

    BATCH = "batch"
    INTERACTIVE = "interactive"
