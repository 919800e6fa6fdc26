"""What the answers of one batch add up to, per model and kind of answer. Pure.

A template is known by its mark: of the marks that a batch's prompts have (`answer_kinds`) those are
kept that enough of its jobs share, since what two prompts have in common may be chance.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from shared.deciding.answer_kinds import kind_of
from shared.deciding.cost_tallies import FRAME_BYTES, BatchSums
from shared.domain.inference import Request, TaskType

_LEAST_JOBS: Final = 8
_LEAST_SHARE: Final = 0.02
_MOST_MARKS: Final = 16
"""Marks that a batch may leave behind."""


@dataclass(frozen=True, slots=True)
class PaidAnswer:
    """One paid answer, and what was asked. weak: the judge refused it. latency_ms: where it was the
    last of its job.
    """

    job_id: int
    model: str
    task_type: TaskType
    request: str
    input_tokens: int
    output_tokens: int
    weak: bool
    latency_ms: int | None


def sums_of(answers: Iterable[PaidAnswer]) -> dict[tuple[str, str], BatchSums]:
    """The sums of each model and kind, and of each model and mark that is kept."""
    by_kind: dict[tuple[str, str], list[PaidAnswer]] = defaultdict(list)
    marks: dict[int, tuple[str, ...]] = {}
    names: dict[int, str] = {}
    seen = list(answers)
    for answer in seen:
        if answer.job_id not in names:
            kind = kind_of(Request.from_json(answer.request), answer.task_type)
            names[answer.job_id], marks[answer.job_id] = kind.name, kind.marks
    kept = _kept(marks.values())
    for answer in seen:
        by_kind[answer.model, names[answer.job_id]].append(answer)
        for mark in marks[answer.job_id]:
            if mark in kept:
                by_kind[answer.model, mark].append(answer)
    return {key: _added(own) for key, own in by_kind.items()}


def _kept(marks: Iterable[tuple[str, ...]]) -> frozenset[str]:
    jobs = list(marks)
    counts = Counter(mark for own in jobs for mark in own)
    least = max(_LEAST_JOBS, _LEAST_SHARE * len(jobs))
    return frozenset(mark for mark, count in counts.most_common(_MOST_MARKS) if count >= least)


def _added(answers: Sequence[PaidAnswer]) -> BatchSums:
    timed = [answer.latency_ms for answer in answers if answer.latency_ms is not None]
    return BatchSums(
        answers=len(answers),
        output_tokens=sum(answer.output_tokens for answer in answers),
        output_squares=float(sum(answer.output_tokens**2 for answer in answers)),
        input_tokens=sum(answer.input_tokens for answer in answers),
        input_bytes=max(0, sum(len(a.request.encode()) - FRAME_BYTES for a in answers)),
        weak=sum(answer.weak for answer in answers),
        latency_ms=sum(timed),
        timed=len(timed),
        longest=max((answer.output_tokens for answer in answers), default=0),
    )
