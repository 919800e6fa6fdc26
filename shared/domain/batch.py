"""A batch's states and moves: OpenAI's words, and one of ours that is shown as one of theirs."""

from enum import StrEnum
from typing import Final


class BatchStatus(StrEnum):
    """Where a batch stands: OpenAI's eight words, and `filling`."""

    VALIDATING = "validating"
    FILLING = "filling"  # its first lines run while the others still come in
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


class BatchVerb(StrEnum):
    """What can happen to a batch."""

    START = "start"  # its first lines are in and may run, others are to come
    SEAL = "seal"  # its last line is in; the jobs may run
    REJECT = "reject"  # nothing of it can run
    CLOSE = "close"  # its last job ended
    CANCEL = "cancel"  # somebody called it off
    LOSE = "lose"  # the rest of its lines will not come
    EXPIRE = "expire"  # its completion window is over
    REOPEN = "reopen"  # failed jobs are tried again


S = BatchStatus
V = BatchVerb

MOVES: Final[dict[tuple[BatchStatus, BatchVerb], BatchStatus]] = {
    (S.VALIDATING, V.SEAL): S.IN_PROGRESS,
    (S.VALIDATING, V.REJECT): S.FAILED,
    (S.VALIDATING, V.CANCEL): S.CANCELLING,
    (S.VALIDATING, V.START): S.FILLING,
    (S.FILLING, V.SEAL): S.IN_PROGRESS,
    (S.FILLING, V.LOSE): S.CANCELLING,
    (S.FILLING, V.CANCEL): S.CANCELLING,
    (S.FILLING, V.EXPIRE): S.FINALIZING,
    (S.IN_PROGRESS, V.CANCEL): S.CANCELLING,
    (S.IN_PROGRESS, V.EXPIRE): S.FINALIZING,
    (S.IN_PROGRESS, V.CLOSE): S.COMPLETED,
    (S.FINALIZING, V.CLOSE): S.EXPIRED,
    (S.CANCELLING, V.CLOSE): S.CANCELLED,
    (S.COMPLETED, V.REOPEN): S.IN_PROGRESS,
}
"""FINALIZING is where an expired batch waits for its calls in flight: nothing new is started.
FILLING is never closed and never rejected: what it holds is not all there is.
"""

TERMINAL: Final = frozenset({S.COMPLETED, S.FAILED, S.EXPIRED, S.CANCELLED})
OPEN: Final = frozenset({S.VALIDATING, S.FILLING, S.IN_PROGRESS, S.FINALIZING, S.CANCELLING})
TAKES_LINES: Final = frozenset({S.VALIDATING, S.FILLING})
RUNS: Final = frozenset({S.FILLING, S.IN_PROGRESS})
"""Where jobs may be started."""

UPLOAD_LOST: Final = {
    "code": "upload_lost",
    "message": "The upload ended before its last line; submit the file again.",
}
UPLOAD_CUT_SHORT: Final = {
    "code": "upload_lost",
    "message": "The upload ended before its last line: what had begun by then was finished and "
    "kept, nothing else of it runs.",
}


def shown(status: str) -> str:
    """The word of OpenAI's that callers see: a batch that fills and runs is `in_progress`."""
    return S.IN_PROGRESS.value if status == S.FILLING else status


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
