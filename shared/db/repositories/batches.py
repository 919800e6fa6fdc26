"""Batches: making, finding and counting them; what moves them is in `batch_moves`."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from shared.db.tables import OPEN_BATCH, SUBMITTED_BATCH, batches, file_intakes, jobs, projects
from shared.domain.batch import OPEN, RUNS, BatchStatus, Endpoint, Priority
from shared.domain.job import JobStatus, job_id_of
from shared.errors import ConflictError

BatchRow = Row[Any]
"""A row of the table `batches`."""

PILOT_WANTED, PILOT_ASKING, PILOT_COMMITTED = "wanted", "asking", "committed"
"""Where a batch's pilot stands: nothing of it is there yet, only its lines run, the rest runs."""


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What is known of a batch before its first line is read."""

    id: str
    project_id: str
    content_sha256: str
    priority: Priority
    completion_window: str
    created_at: datetime
    expires_at: datetime
    idempotency_key: str | None = None
    name: str | None = None
    max_cost_nusd: int | None = None
    metadata: Mapping[str, Any] | None = None
    input_file_id: str | None = None
    output_expires_after_s: int | None = None
    endpoint: Endpoint = Endpoint.CHAT
    key_id: str | None = None
    counted_tokens: int | None = None
    content_bytes: int | None = None
    optimise: str | None = None
    pilot: bool = False
    max_quality_loss: float | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """A batch's jobs by state."""

    total: int
    queued: int
    running: int
    held: int
    completed: int
    failed: int
    cancelled: int
    expired: int


def create(connection: Connection, batch: NewBatch, *, lines: int | None = None) -> int:
    """Insert a batch in `validating` and return its number. lines: it has these, all of them good,
    and runs from the start.

    Raises ConflictError with code `idempotency_key_taken` where the project has used the key.
    """
    values = {
        "id": batch.id,
        "project_id": batch.project_id,
        "status": BatchStatus.VALIDATING.value,
        "priority": batch.priority.value,
        "idempotency_key": batch.idempotency_key,
        "content_sha256": batch.content_sha256,
        "name": batch.name,
        "metadata": dict(batch.metadata or {}),
        "completion_window": batch.completion_window,
        "max_cost_nusd": batch.max_cost_nusd,
        "created_at": batch.created_at,
        "expires_at": batch.expires_at,
        "input_file_id": batch.input_file_id,
        "output_expires_after_s": batch.output_expires_after_s,
        "endpoint": batch.endpoint.value,
        "key_id": batch.key_id,
        "counted_tokens": batch.counted_tokens,
        "content_bytes": batch.content_bytes,
        "optimise": batch.optimise,
        "pilot": PILOT_WANTED if batch.pilot else None,
        "max_quality_loss": batch.max_quality_loss,
        "traceparent": batch.traceparent,
    }
    if lines is not None:
        values |= {
            "status": BatchStatus.IN_PROGRESS.value,
            "total": lines,
            "in_progress_at": batch.created_at,
        }
    key = batch.idempotency_key
    try:
        # Nothing but a key can be taken, and who has it is looked up in the same transaction.
        with nullcontext() if key is None else connection.begin_nested():
            made = connection.execute(insert(batches).returning(batches.c.number), values)
            return int(made.scalar_one())
    except IntegrityError:
        if key is None or by_idempotency_key(connection, batch.project_id, key) is None:
            raise
        raise ConflictError("the key was used", code="idempotency_key_taken") from None


def get(connection: Connection, batch_id: str, project_id: str | None = None) -> BatchRow | None:
    """A batch by its public id; with a project, only that project's."""
    query = select(batches).where(batches.c.id == batch_id)
    if project_id is not None:
        query = query.where(batches.c.project_id == project_id)
    return connection.execute(query).one_or_none()


def by_number(connection: Connection, number: int) -> BatchRow | None:
    """A batch by the number in its jobs' ids."""
    return connection.execute(_BY_NUMBER, {"of_number": number}).one_or_none()


_BY_NUMBER: Final = select(batches).where(batches.c.number == bindparam("of_number"))


def with_project(connection: Connection, number: int) -> BatchRow | None:
    """What jobs take from their batch and its project: the batch's number, id, project_id, total,
    max_cost_nusd, duplicates, key_id, optimise, pilot and max_quality_loss, and the project's
    routing, cache_ttl_s and cache_name. All columns of both would be fifty more.
    """
    return connection.execute(_WITH_PROJECT, {"of_number": number}).one_or_none()


_WITH_PROJECT: Final[Select[Any]] = (
    select(
        batches.c.number,
        batches.c.id,
        batches.c.project_id,
        batches.c.total,
        batches.c.max_cost_nusd,
        batches.c.duplicates,
        batches.c.key_id,
        batches.c.optimise,
        batches.c.pilot,
        batches.c.max_quality_loss,
        projects.c.routing,
        projects.c.cache_ttl_s,
        projects.c.cache_name,
    )
    .join(projects, projects.c.id == batches.c.project_id)
    .where(batches.c.number == bindparam("of_number"))
)


def by_idempotency_key(connection: Connection, project_id: str, key: str) -> BatchRow | None:
    """The batch that was submitted under this key, if any."""
    query = select(batches).where(
        batches.c.project_id == project_id, batches.c.idempotency_key == key
    )
    return connection.execute(query).one_or_none()


def free_key(connection: Connection, number: int) -> None:
    """Its idempotency key may be used again: what is sent again under it makes a new batch."""
    connection.execute(
        update(batches).where(batches.c.number == number).values(idempotency_key=None)
    )


def twin(
    connection: Connection,
    project_id: str,
    *content_sha256: str,
    since: datetime | None = None,
) -> BatchRow | None:
    """The newest batch of this very content (or one of these) that the project has made since a
    moment, if any.
    """
    query = (
        select(batches)
        .where(batches.c.project_id == project_id, batches.c.content_sha256.in_(content_sha256))
        .order_by(batches.c.number.desc())
        .limit(1)
    )
    if since is not None:
        query = query.where(batches.c.created_at >= since)
    return connection.execute(query).one_or_none()


def hold_content(connection: Connection, content_sha256: str) -> None:
    """Let nobody else who says so make a batch of this content until the transaction ends: two
    could each look for the other's before it is written. SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(bytes.fromhex(content_sha256[:16]), signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(number)))


def page(
    connection: Connection,
    project_id: str | None,
    *,
    limit: int,
    before: int | None = None,
    awaited: bool = True,
) -> Sequence[BatchRow]:
    """Batches, newest first; `before` is the number of the last one of the page before. awaited:
    also those that chat completions are made of.
    """
    query = select(batches).order_by(batches.c.number.desc()).limit(limit)
    if project_id is not None:
        query = query.where(batches.c.project_id == project_id)
    if before is not None:
        query = query.where(batches.c.number < before)
    if not awaited:
        query = query.where(text(f"batches.{SUBMITTED_BATCH}"))
    return connection.execute(query).all()


def overdue(connection: Connection, now: datetime, limit: int = 100) -> Sequence[BatchRow]:
    """Running batches, also those that are still filled, whose completion window is over."""
    query = (
        select(batches)
        .where(
            text(f"batches.{OPEN_BATCH}"),
            batches.c.status.in_(RUNS),
            batches.c.expires_at <= now,
        )
        .order_by(batches.c.number)
        .limit(limit)
    )
    return connection.execute(query).all()


def open_batches(connection: Connection, *statuses: BatchStatus) -> Sequence[BatchRow]:
    """Batches that have not ended, oldest first; of these statuses only where some are named.

    Those whose stored file is still to be read are left out: no upload of theirs can be lost, and
    their intake has a lease of its own.
    """
    waits_for_intake = exists().where(file_intakes.c.batch_number == batches.c.number)
    query = (
        select(batches)
        .where(
            text(f"batches.{OPEN_BATCH}"),
            batches.c.status.in_(statuses or tuple(OPEN)),
            or_(batches.c.status != BatchStatus.VALIDATING, not_(waits_for_intake)),
        )
        .order_by(batches.c.number)
    )
    return connection.execute(query).all()


def counts(connection: Connection, batch: BatchRow) -> Counts:
    """The batch's jobs by state; only those running and held are counted row by row (each by its
    own small index), those that wait are what remains, so a million queued jobs cost nothing.
    """
    ended = batch.completed + batch.failed + batch.cancelled + batch.expired
    first, last = id_range(batch.number)
    running = _count(
        connection,
        # As an expression the id cannot lead the planner to the table's own order, in which it
        # would read the whole batch.
        (jobs.c.id + 0).between(first, last),
        jobs.c.status == JobStatus.RUNNING,
        jobs.c.lease_until.is_not(None),
    )
    held = _count(connection, jobs.c.id.between(first, last), jobs.c.status == JobStatus.HELD)
    return Counts(
        total=batch.total,
        queued=max(0, batch.total - ended - running - held),
        running=running,
        held=held,
        completed=batch.completed,
        failed=batch.failed,
        cancelled=batch.cancelled,
        expired=batch.expired,
    )


def _count(connection: Connection, *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(jobs).where(*conditions)
    return int(connection.execute(query).scalar_one())


def id_range(number: int) -> tuple[int, int]:
    """The first and the last id that jobs of a batch can have."""
    return job_id_of(number, 0), job_id_of(number + 1, 0) - 1


def lock(connection: Connection, number: int) -> None:
    """Whoever else changes this batch waits until the caller's transaction is over."""
    connection.execute(select(batches.c.number).where(batches.c.number == number).with_for_update())


def add_taken(
    connection: Connection, number: int, *, lines: int, rejected: int, duplicates: int = 0
) -> None:
    """Count lines taken in; rejected ones are jobs that failed at birth, duplicates wait for the
    answer of an earlier line.
    """
    connection.execute(
        update(batches)
        .where(batches.c.number == number)
        .values(
            total=batches.c.total + lines,
            failed=batches.c.failed + rejected,
            rejected=batches.c.rejected + rejected,
            duplicates=batches.c.duplicates + duplicates,
        )
    )


def set_endpoint(connection: Connection, number: int, endpoint: Endpoint) -> None:
    """What its lines ask for, known once they have all been read."""
    changed = update(batches).where(batches.c.number == number).values(endpoint=endpoint.value)
    connection.execute(changed)


def note_content(
    connection: Connection, number: int, content_sha256: str, content_bytes: int | None
) -> None:
    """So much of the file is in, with this hash; None: all of it."""
    connection.execute(
        update(batches)
        .where(batches.c.number == number)
        .values(content_sha256=content_sha256, content_bytes=content_bytes)
    )


def note_fed(connection: Connection, number: int, now: datetime) -> None:
    """Somebody is sending the batch's file, though no new line of it is in yet."""
    connection.execute(update(batches).where(batches.c.number == number).values(fed_at=now))


def set_cap(connection: Connection, number: int, max_cost_nusd: int | None) -> None:
    """Change what the whole batch may cost."""
    connection.execute(
        update(batches).where(batches.c.number == number).values(max_cost_nusd=max_cost_nusd)
    )
