"""Attempts and their cost rows: a durable intent before each call, its price after it.

The sums per project and window (`spend`), per model and day (`usage`) and per batch are written in
the transaction that closes the attempts, so they equal the sum of the cost rows at every commit;
`reconcile` checks that of `spend`.
"""

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from shared.db.bulk import (
    add_rows,
    insert_rows,
    update_rows,
)
from shared.db.repositories.batch_moves import Progress
from shared.db.stored_form import Row
from shared.db.tables import PARTS, attempts, spend, usage
from shared.domain.attempt import AttemptStatus, Purpose
from shared.domain.job import batch_number_of


class Intent(NamedTuple):
    """A call about to be made, reserved at its worst case in the windows named.

    It and `Closing` are named tuples, because with so many fields a frozen dataclass takes four
    times as long to make, and every call makes three.
    """

    id: str
    job_id: int
    project_id: str
    ordinal: int
    purpose: Purpose
    rung: int
    model: str
    provider: str
    tier: str
    key_id: str
    reserved_nusd: int
    day: str
    month: str
    started_at: datetime
    task_type: str = ""


class Closing(NamedTuple):
    """What became of a call. Identifies its job and windows, so that the sums can be written
    without reading the intent again.
    """

    intent: Intent
    status: AttemptStatus
    cost_nusd: int
    ended_at: datetime
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    finish_reason: str | None = None
    error_kind: str | None = None
    error_message: str | None = None
    verdict: Mapping[str, Any] | None = None
    answer: str | None = None
    warnings: Sequence[str] | None = None


def open_intents(connection: Connection, intents: Sequence[Intent]) -> None:
    """Write intents; the caller has checked the claims of their jobs in this transaction.

    Again is the same as once: a commit whose answer was lost is simply made again.
    """
    open_rows(connection, intent_rows(intents))


def open_rows(connection: Connection, rows: Sequence[Row]) -> None:
    """`open_intents`, of rows that `intent_rows` made, which may have been `stored`."""
    insert_rows(connection, attempts, rows, known="id")


def intent_rows(intents: Sequence[Intent]) -> list[Row]:
    """Their rows, in the order given."""
    return [
        {
            "id": intent.id,
            "job_id": intent.job_id,
            "project_id": intent.project_id,
            "ordinal": intent.ordinal,
            "purpose": intent.purpose.value,
            "status": AttemptStatus.OPEN.value,
            "rung": intent.rung,
            "model": intent.model,
            "provider": intent.provider,
            "tier": intent.tier,
            "key_id": intent.key_id,
            "reserved_nusd": intent.reserved_nusd,
            "day": intent.day,
            "month": intent.month,
            "task_type": intent.task_type,
            "started_at": intent.started_at,
        }
        for intent in intents
    ]


def close(connection: Connection, closings: Sequence[Closing]) -> dict[int, Progress]:
    """`price` and `add_sums` in one."""
    return add_sums(connection, price(connection, closings, closing_rows(closings)))


def price(
    connection: Connection, closings: Sequence[Closing], rows: Sequence[Row]
) -> list[Closing]:
    """Price attempts that are still open; those closed by now (by the rescuer) keep their price,
    which was their reservation. Returns those it priced, for `add_sums` in the same transaction.

    rows: what `closing_rows` made of the closings, which may have been `stored`.
    """
    if not closings:
        return []
    open_ = AttemptStatus.OPEN.value
    priced = update_rows(connection, attempts, rows, key="id", status=open_)
    return [closing for closing in closings if closing.intent.id in priced]


def closing_rows(closings: Sequence[Closing]) -> list[Row]:
    """What closings change of their attempts' rows, in the order given."""
    return [_closing_row(closing) for closing in closings]


def add_sums(
    connection: Connection, priced: Sequence[Closing], part: int = 0
) -> dict[int, Progress]:
    """Add what was priced to the sums. Returns what to add to each batch, for
    `batch_moves.add_progress`. Late in a transaction: until its end, all others wait who add to
    this part of the project's sums (see `tables.money.PARTS`).
    """
    _add_usage(connection, priced, part)
    return _add_spend(connection, priced, part)


def sums_part(node: str) -> int:
    """Which part of the sums a worker for batches adds to, by its name. The first is not among
    them: who adds to that is waited for.
    """
    return 1 + zlib.crc32(node.encode()) % (PARTS - 1)


def _closing_row(closing: Closing) -> dict[str, Any]:
    return {
        "id": closing.intent.id,
        "status": closing.status.value,
        "cost_nusd": closing.cost_nusd,
        "ended_at": closing.ended_at,
        "input_tokens": closing.input_tokens,
        "cached_tokens": closing.cached_tokens,
        "cache_write_tokens": closing.cache_write_tokens,
        "output_tokens": closing.output_tokens,
        "reasoning_tokens": closing.reasoning_tokens,
        "finish_reason": closing.finish_reason,
        "error_kind": closing.error_kind,
        "error_message": closing.error_message,
        "verdict": dict(closing.verdict) if closing.verdict else None,
        "answer": closing.answer,
        "warnings": list(closing.warnings) if closing.warnings else None,
    }


def _add_spend(
    connection: Connection, closings: Sequence[Closing], part: int
) -> dict[int, Progress]:
    windows: dict[tuple[str, str, str], list[int]] = {}
    per_batch: dict[int, list[int]] = {}
    for closing in closings:
        used = _used(closing)
        own = per_batch.setdefault(batch_number_of(closing.intent.job_id), [0] * len(used))
        for place, figure in enumerate(used):
            own[place] += figure
        if not closing.cost_nusd:
            continue
        intent = closing.intent
        unconfirmed = closing.cost_nusd if closing.status is AttemptStatus.UNCONFIRMED else 0
        for key in (("day", intent.day), ("month", intent.month), ("total", "")):
            sums = windows.setdefault((intent.project_id, *key), [0, 0])
            sums[0] += closing.cost_nusd
            sums[1] += unconfirmed
    if windows:
        _upsert_spend(connection, windows, part)
    return {
        number: Progress(**dict(zip(_USED, own, strict=True)))
        for number, own in per_batch.items()
        if any(own)
    }


_USED = (
    "cost_nusd", "unconfirmed_nusd", "input_tokens", "cached_tokens", "output_tokens",
    "reasoning_tokens",
)  # fmt: skip


def _used(closing: Closing) -> tuple[int, ...]:
    """What a call adds to its batch, in the order of `_USED`."""
    cost = closing.cost_nusd
    return (
        cost,
        cost if closing.status is AttemptStatus.UNCONFIRMED else 0,
        closing.input_tokens,
        closing.cached_tokens,
        closing.output_tokens,
        closing.reasoning_tokens,
    )


def _upsert_spend(
    connection: Connection, windows: Mapping[tuple[str, str, str], Sequence[int]], part: int
) -> None:
    # In one order for all transactions, so that two never wait for each other in a circle.
    rows = [
        {
            "project_id": project,
            "kind": kind,
            "period": period,
            "part": part,
            "spent_nusd": spent,
            "unconfirmed_nusd": unconfirmed,
        }
        for (project, kind, period), (spent, unconfirmed) in sorted(windows.items())
    ]
    add_rows(connection, spend, rows)


_USAGE_KEY = tuple(str(column.name) for column in usage.primary_key)
USAGE_SUMS = tuple(str(column.name) for column in usage.columns if not column.primary_key)
"""What is summed up per project, day and model: `Closing` in figures, in the table's order."""


def _add_usage(connection: Connection, closings: Sequence[Closing], part: int) -> None:
    sums: dict[tuple[str | int, ...], list[int]] = {}
    for closing in closings:
        intent = closing.intent
        key = (
            intent.project_id,
            intent.day,
            intent.model,
            intent.provider,
            intent.purpose.value,
            intent.task_type,
            part,
        )
        own = sums.setdefault(key, [0] * len(USAGE_SUMS))
        unconfirmed = closing.cost_nusd if closing.status is AttemptStatus.UNCONFIRMED else 0
        figures = (
            1,
            int(closing.status is not AttemptStatus.BILLED),
            closing.cost_nusd,
            unconfirmed,
            closing.input_tokens,
            closing.cached_tokens,
            closing.output_tokens,
            closing.reasoning_tokens,
        )
        for place, figure in enumerate(figures):
            own[place] += figure
    # In one order for all transactions, as above.
    rows = [
        dict(zip((*_USAGE_KEY, *USAGE_SUMS), (*key, *own), strict=True))
        for key, own in sorted(sums.items())
    ]
    add_rows(connection, usage, rows)


def open_of_jobs(connection: Connection, job_ids: Sequence[int]) -> list[Intent]:
    """The open intents of jobs whose worker is gone."""
    query = select(attempts).where(
        attempts.c.job_id.in_(job_ids), attempts.c.status == AttemptStatus.OPEN
    )
    return [
        Intent(
            id=row.id,
            job_id=row.job_id,
            project_id=row.project_id,
            ordinal=row.ordinal,
            purpose=Purpose(row.purpose),
            rung=row.rung,
            model=row.model,
            provider=row.provider,
            tier=row.tier,
            key_id=row.key_id,
            reserved_nusd=row.reserved_nusd,
            day=row.day,
            month=row.month,
            started_at=row.started_at,
            task_type=row.task_type,
        )
        for row in connection.execute(query)
    ]


def of_jobs(connection: Connection, job_ids: Sequence[int]) -> dict[int, list[Any]]:
    """All attempts of these jobs in the order they were made, for jobs that run again."""
    query = (
        select(attempts)
        .where(attempts.c.job_id.in_(job_ids))
        .order_by(attempts.c.job_id, attempts.c.ordinal, attempts.c.started_at)
    )
    found: dict[int, list[Any]] = {}
    for row in connection.execute(query):
        found.setdefault(row.job_id, []).append(row)
    return found
