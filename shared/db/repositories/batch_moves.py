"""A batch's moves: one verb for each, from its first line that may run to the event of its end.

Counts by end (completed, failed, cancelled, expired) live in the batch's row and are written in
the transaction that ends the jobs; the row's lock also makes exactly one transaction the one that
sees the last job end. Recording, the rescuer, expiry and cancellation all end jobs, so all of them
close batches through `close_finished`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, func, literal, select, update

from shared.db.bulk import among, listed, made_once
from shared.db.repositories import files, outbox
from shared.db.repositories.batches import BatchRow, by_number, lock
from shared.db.tables import batches
from shared.domain.batch import MOVES, BatchStatus, BatchVerb, is_awaited
from shared.errors import ConflictError


def start(connection: Connection, number: int, now: datetime) -> None:
    """Its first lines are in: they may run while the others come in."""
    _move(connection, number, BatchVerb.START, in_progress_at=now)


def seal(connection: Connection, number: int, now: datetime) -> None:
    """The last line is in: the jobs may run. One that ran already may be over, which nobody could
    know before.
    """
    began = func.coalesce(batches.c.in_progress_at, literal(now, batches.c.in_progress_at.type))
    _move(connection, number, BatchVerb.SEAL, in_progress_at=began)
    close_finished(connection, [number], now)


def lose(
    connection: Connection, number: int, total: int, error: Mapping[str, Any], now: datetime
) -> None:
    """The rest of a batch that runs already will not come: what has begun is finished and kept, the
    caller ends what waits. `error` says why. Its key stays used, so nothing is answered twice.

    Raises ConflictError where the batch has other than `total` lines by now: its upload lives.
    """
    lock(connection, number)
    batch = by_number(connection, number)
    if batch is None or batch.total != total:
        raise ConflictError("lines of the batch came in meanwhile")
    _move(connection, number, BatchVerb.LOSE, cancelling_at=now, error=dict(error))
    close_finished(connection, [number], now)


def reject(connection: Connection, number: int, error: Mapping[str, Any], now: datetime) -> None:
    """Nothing of it can run; `error` is {code, message, ...}."""
    _move(connection, number, BatchVerb.REJECT, failed_at=now, error=dict(error))
    batch = by_number(connection, number)
    if batch is not None:
        outbox.add(connection, batch.project_id, "batch.failed", {"id": batch.id}, now)


def cancel(connection: Connection, number: int, now: datetime) -> None:
    """Call it off: nothing more is started. Idempotent while cancelling.

    Raises ConflictError when the batch has ended. The caller cancels the waiting jobs
    (`jobs.end_waiting`) and then calls `close_finished`.
    """
    batch = connection.execute(
        select(batches.c.status).where(batches.c.number == number).with_for_update()
    ).one()
    if batch.status == BatchStatus.CANCELLING:
        return
    if (BatchStatus(batch.status), BatchVerb.CANCEL) not in MOVES:
        raise ConflictError(
            f"Cannot cancel a batch with status '{batch.status}'.", code="batch_not_cancellable"
        )
    _move(connection, number, BatchVerb.CANCEL, cancelling_at=now, retry_at_line=None)


def begin_expiry(connection: Connection, number: int, now: datetime) -> None:
    """Its window is over: nothing more is started; `close_finished` ends it."""
    _move(connection, number, BatchVerb.EXPIRE, finalizing_at=now, retry_at_line=None)


def reopen(connection: Connection, number: int, expires_at: datetime) -> None:
    """The batch runs again; its failed jobs go back to the queue by `retrying`'s steps."""
    _move(
        connection,
        number,
        BatchVerb.REOPEN,
        retry_at_line=0,
        completed_at=None,
        finalizing_at=None,
        expires_at=expires_at,
    )


def _move(connection: Connection, number: int, verb: BatchVerb, **values: Any) -> None:
    """Make a move that the table allows; raises ConflictError when the status does not allow it."""
    sources = {source: target for (source, v), target in MOVES.items() if v is verb}
    (target,) = set(sources.values())
    moved = connection.execute(
        update(batches)
        .where(batches.c.number == number, batches.c.status.in_(list(sources)))
        .values(status=target.value, **values)
    )
    if not moved.rowcount:
        raise ConflictError(f"the batch's status does not allow '{verb.value}'")


@dataclass(frozen=True, slots=True)
class Progress:
    """What one transaction adds to a batch's row."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    cost_nusd: int = 0
    unconfirmed_nusd: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "Progress") -> "Progress":
        """Both together."""
        return Progress(*(getattr(self, n) + getattr(other, n) for n in _COUNTERS))


_COUNTERS: Final = tuple(field.name for field in fields(Progress))


def add_progress(
    connection: Connection, progress: Mapping[int, Progress], now: datetime
) -> list[str]:
    """Add ended jobs and cost to the batches' rows, in rising order of number so that two
    transactions never wait for each other in a circle; then close what is finished.
    Returns the ids of the batches that ended.
    """
    changed = [
        row
        for number, step in sorted(progress.items())
        for row in connection.execute(_ADDING, {"of_number": number, **_added(step)})
    ]
    return _close(connection, changed, now)


_LOOKED_AT: Final = (
    batches.c.number,
    batches.c.id,
    batches.c.project_id,
    batches.c.status,
    batches.c.total,
    *(batches.c[end] for end in ("completed", "failed", "cancelled", "expired")),
    batches.c.retry_at_line,
    batches.c.input_file_id,
    batches.c.output_expires_after_s,
)
"""What `_close` looks at, and `files.add_outputs`."""

_ADDING: Final = (
    update(batches)
    .where(batches.c.number == bindparam("of_number"))
    .values({name: batches.c[name] + bindparam(f"more_{name}") for name in _COUNTERS})
    .returning(*_LOOKED_AT)
)


def _added(step: Progress) -> dict[str, int]:
    return {f"more_{name}": getattr(step, name) for name in _COUNTERS}


def close_finished(connection: Connection, numbers: Sequence[int], now: datetime) -> list[str]:
    """Close those of the batches whose last job has ended, and announce it in the same
    transaction. Returns their ids. The one verb by which a batch ends after it began.
    """
    them = {"numbers": listed(connection, numbers)}
    return _close(connection, connection.execute(_by_numbers(connection), them).all(), now)


def _close(connection: Connection, rows: Iterable[BatchRow], now: datetime) -> list[str]:
    closed = []
    for row in filter(_is_finished, rows):
        status = MOVES[BatchStatus(row.status), BatchVerb.CLOSE]
        moments = {_CLOSED_AT[status]: now}
        if status is BatchStatus.COMPLETED:
            moments["finalizing_at"] = now  # nothing is left to be done in between
        moved = connection.execute(
            update(batches)
            .where(batches.c.number == row.number, batches.c.status == row.status)
            .values(status=status.value, **moments)
        )
        if moved.rowcount:
            if row.input_file_id is not None:
                files.add_outputs(connection, row, now)
            if not is_awaited(row.id):  # whoever waits on a connection is told there
                outbox.add(connection, row.project_id, f"batch.{status.value}", {"id": row.id}, now)
            closed.append(row.id)
    return closed


_CLOSED_AT = {
    BatchStatus.COMPLETED: "completed_at",
    BatchStatus.EXPIRED: "expired_at",
    BatchStatus.CANCELLED: "cancelled_at",
}


@made_once
def _by_numbers(connection: Connection) -> Select[Any]:
    them = among(connection, batches.c.number, "numbers")
    return select(*_LOOKED_AT).where(them).order_by(batches.c.number)


def _is_finished(row: BatchRow) -> bool:
    """Whether it is open and has no job left, nor one to be retried."""
    ended = row.completed + row.failed + row.cancelled + row.expired
    has_begun = (BatchStatus(row.status), BatchVerb.CLOSE) in MOVES
    return has_begun and bool(row.total == ended) and row.retry_at_line is None
