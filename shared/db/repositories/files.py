"""Files: those that were uploaded, and the output and error files of batches.

An uploaded file's content lies in the storage under the file's id; a row is made when the content
is there, and goes after it. An output file has a row from its batch's end on and no content: it is
written from the results whenever it is read. Ids rise with time, so a listing can go on after a
file that is gone by then.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    delete,
    exists,
    insert,
    not_,
    or_,
    select,
    update,
)

from shared.db.tables import file_intakes, files
from shared.ids import new_id

FileRow = Row[Any]
"""A row of the table `files`."""

OUTPUT_PURPOSE: Final = "batch_output"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file whose content is in the storage. expires_at: None keeps it until it is deleted."""

    id: str
    project_id: str
    purpose: str
    filename: str
    size: int
    created_at: datetime
    expires_at: datetime | None


def new_file_id() -> str:
    """An uploaded file's id, in OpenAI's spelling."""
    return new_id("file").replace("_", "-")


def output_ids(batch_id: str) -> tuple[str, str]:
    """The ids of a batch's output file and of its error file."""
    stem = "file-" + batch_id.removeprefix("batch_")
    return f"{stem}-output", f"{stem}-error"


def batch_of_output(file_id: str) -> str | None:
    """The id of the batch whose output or error file this would be; None for other ids."""
    stem, _, kind = file_id.removeprefix("file-").partition("-")
    return f"batch_{stem}" if kind in ("output", "error") else None


def add(connection: Connection, file: NewFile) -> None:
    """The upload is complete."""
    connection.execute(
        insert(files),
        {
            "id": file.id,
            "project_id": file.project_id,
            "purpose": file.purpose,
            "filename": file.filename,
            "bytes": file.size,
            "created_at": file.created_at,
            "expires_at": file.expires_at,
        },
    )


def add_outputs(connection: Connection, batch: Any, now: datetime) -> None:
    """The batch has ended: from now on it has an output file where a job was answered, and an
    error file where one was not. A batch that ends a second time gets them anew.
    """
    connection.execute(delete(files).where(files.c.batch_number == batch.number))
    kept_s = batch.output_expires_after_s
    output, error = output_ids(batch.id)
    parts = ((output, "output", batch.completed), (error, "error", batch.total - batch.completed))
    rows = [
        {
            "id": file_id,
            "project_id": batch.project_id,
            "batch_number": batch.number,
            "purpose": OUTPUT_PURPOSE,
            "filename": f"{batch.id}_{kind}.jsonl",
            "created_at": now,
            "expires_at": None if kept_s is None else now + timedelta(seconds=kept_s),
        }
        for file_id, kind, lines in parts
        if lines
    ]
    if rows:
        connection.execute(insert(files), rows)


def get(
    connection: Connection, file_id: str, project_id: str | None, now: datetime
) -> FileRow | None:
    """A file by its id, neither deleted nor expired; with a project, only that project's."""
    query = select(files).where(files.c.id == file_id, _lives(now))
    if project_id is not None:
        query = query.where(files.c.project_id == project_id)
    return connection.execute(query).one_or_none()


def page(
    connection: Connection,
    project_id: str,
    now: datetime,
    *,
    limit: int,
    after: str | None = None,
    newest_first: bool = True,
    purpose: str | None = None,
) -> Sequence[FileRow]:
    """A project's files by id; `after` is the last id of the page before, there or gone."""
    order = files.c.id.desc() if newest_first else files.c.id.asc()
    query = select(files).where(files.c.project_id == project_id, _lives(now))
    if purpose is not None:
        query = query.where(files.c.purpose == purpose)
    if after is not None:
        query = query.where(files.c.id < after if newest_first else files.c.id > after)
    return connection.execute(query.order_by(order).limit(limit)).all()


def set_bytes(connection: Connection, file_id: str, size: int) -> None:
    """An output file was counted."""
    connection.execute(update(files).where(files.c.id == file_id).values(bytes=size))


def mark_deleted(connection: Connection, file_id: str, now: datetime) -> bool:
    """Its owner deleted it; False where somebody was first."""
    return bool(
        connection.execute(
            update(files)
            .where(files.c.id == file_id, files.c.deleted_at.is_(None))
            .values(deleted_at=now)
        ).rowcount
    )


def removable(connection: Connection, now: datetime, limit: int) -> Sequence[FileRow]:
    """Files that are deleted or expired and that no batch has yet to read."""
    is_needed = exists().where(file_intakes.c.file_id == files.c.id)
    query = select(files).where(not_(is_needed)).limit(limit)
    # One after the other: each by its own index, where both at once would read all files.
    rows = connection.execute(query.where(files.c.deleted_at.is_not(None))).all()
    if len(rows) < limit:
        expired = query.where(files.c.expires_at <= now, files.c.deleted_at.is_(None))
        rows = [*rows, *connection.execute(expired.limit(limit - len(rows))).all()]
    return rows


def remove(connection: Connection, ids: Collection[str]) -> None:
    """Their content is gone: so are they."""
    connection.execute(delete(files).where(files.c.id.in_(ids)))


def known(connection: Connection, ids: Collection[str]) -> set[str]:
    """Those of the ids that have a row."""
    found = connection.execute(select(files.c.id).where(files.c.id.in_(ids)))
    return set(found.scalars())


def _lives(now: datetime) -> ColumnElement[bool]:
    return files.c.deleted_at.is_(None) & or_(
        files.c.expires_at.is_(None), files.c.expires_at > now
    )
