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


class Endpoint(StrEnum):
    """What can be asked for, by OpenAI's addresses."""

    CHAT = "/v1/chat/completions"
    EMBEDDINGS = "/v1/embeddings"


AWAITED_PREFIX: Final = "chat"
"""Begins the id of a batch that somebody waits for on an open connection: a chat completion or a
comparison. Its jobs end at once where others are held or wait, nobody is notified of its end, and
lists leave it out unless it is asked for."""


def is_awaited(batch_id: str) -> bool:
    """Whether somebody waits for this batch on an open connection."""
    return batch_id.startswith(f"{AWAITED_PREFIX}_")


class Priority(StrEnum):
    """Which queue a batch's chunks take."""

    BATCH = "batch"
    INTERACTIVE = "interactive"
