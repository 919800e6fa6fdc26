"""A job's states and the only moves between them: one table, mirrored by a CHECK in the database.

Nobody sets a status: each move is a verb, and the repository's verb of that name guards it by the
status it starts from and, where a worker makes it, by that worker's claim token.
"""

from enum import StrEnum
from typing import Final


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    HELD = "held"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class JobVerb(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"  # a worker takes it
    COMPLETE = "complete"  # it has its answer
    FAIL = "fail"  # it has its error, for good
    PARK = "park"  # the budget cannot carry it now
    HAND_BACK = "hand_back"  # the worker gives it up unfinished, perhaps until a later time
    RESCUE = "rescue"  # its worker is gone: the lease ran out
    RELEASE = "release"  # there is money again
    CANCEL = "cancel"  # its batch was cancelled
    EXPIRE = "expire"  # its batch's completion window is over
    RETRY = "retry"  # somebody asked to try the failed ones again
    ANSWER_ALIKE = "answer_alike"  # the job it duplicates has its answer
    FAIL_ALIKE = "fail_alike"  # the job it duplicates has failed


S = JobStatus
V = JobVerb

MOVES: Final[dict[tuple[JobStatus, JobVerb], JobStatus]] = {
    (S.QUEUED, V.CLAIM): S.RUNNING,
    (S.QUEUED, V.CANCEL): S.CANCELLED,
    (S.QUEUED, V.EXPIRE): S.EXPIRED,
    (S.RUNNING, V.COMPLETE): S.COMPLETED,
    (S.RUNNING, V.FAIL): S.FAILED,
    (S.RUNNING, V.PARK): S.HELD,
    (S.RUNNING, V.HAND_BACK): S.QUEUED,
    (S.RUNNING, V.RESCUE): S.QUEUED,
    (S.RUNNING, V.CANCEL): S.CANCELLED,
    (S.RUNNING, V.EXPIRE): S.EXPIRED,
    (S.HELD, V.RELEASE): S.QUEUED,
    (S.HELD, V.CANCEL): S.CANCELLED,
    (S.HELD, V.EXPIRE): S.EXPIRED,
    (S.FAILED, V.RETRY): S.QUEUED,
    (S.QUEUED, V.ANSWER_ALIKE): S.COMPLETED,
    (S.QUEUED, V.FAIL_ALIKE): S.FAILED,
}
"""RUNNING is cancelled or expired only by its own worker, before the job's first call; a call that
is in flight is finished, kept and charged. A duplicate stays QUEUED until the job it duplicates
ends, and is never claimed."""

TERMINAL: Final = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED, S.EXPIRED})

CLAIMED_VERBS: Final = frozenset({V.COMPLETE, V.FAIL, V.PARK, V.HAND_BACK})
"""Verbs that only the holder of the claim may use."""

LINE_BITS: Final = 24
MAX_LINES: Final = (1 << LINE_BITS) - 1


def job_id_of(batch_number: int, line: int) -> int:
    """A job's id: the batch's number above, the line below, so that ids of a batch lie together,
    in input order, and the batch can be read off the id.
    """
    return (batch_number << LINE_BITS) | line


def batch_number_of(job_id: int) -> int:
    """The number of the batch a job belongs to."""
    return job_id >> LINE_BITS


def line_of(job_id: int) -> int:
    """The job's line in the submitted file, counted from 1."""
    return job_id & MAX_LINES


def public_job_id(job_id: int) -> str:
    """The id as the API shows it."""
    return f"job_{job_id:x}"


def parse_job_id(public: str) -> int | None:
    """The id behind a public one; None for what is not one."""
    if not public.startswith("job_"):
        return None
    try:
        number = int(public[4:], 16)
    except ValueError:
        return None
    return number if 0 < number < 2**63 else None
