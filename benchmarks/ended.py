"""An ended batch of any size, written straight into the database: what export is measured on."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import update

from benchmarks.load import prompt
from benchmarks.responder import ANSWER
from shared.clock import utc_now
from shared.db.bulk import insert_rows
from shared.db.engine import Database
from shared.db.repositories import batches, projects
from shared.db.repositories.batches import NewBatch
from shared.db.tables import batches as batches_table
from shared.db.tables import jobs, results
from shared.domain.batch import BatchStatus, Priority
from shared.domain.decisions import Mode, Route, Rung
from shared.domain.inference import Request, Tier
from shared.domain.job import job_id_of
from shared.ids import new_id

PROJECT = "bench"
_BLOCK = 5_000
_NOW = utc_now()  # or retention would remove it
_BODY = ANSWER.decode()
_ROUTE = Route(
    mode=Mode.AUTO,
    rungs=tuple(Rung(tier, (f"bench-{tier}-a", f"bench-{tier}-b")) for tier in Tier),
    reasons=("analysis of medium difficulty: cheap suffices", "bench-cheap-a scores best: 0.71"),
)
_DECISION = {
    "classification": {
        "task_type": "analysis",
        "difficulty": 0.41,
        "level": "medium",
        "confidence": 0.83,
        "reasons": ["asks for a summary", "one short document"],
        "source": "rules",
    },
    "route": _ROUTE.to_dict(),
}


def ended_batch(database: Database, lines: int, name: str | None = None) -> int:
    """A batch of so many completed jobs of the project `bench`; returns its number."""
    with database.transaction() as connection:
        if projects.get(connection, PROJECT) is None:
            projects.create(connection, PROJECT, _NOW)
        new = NewBatch(
            id=new_id("batch"),
            project_id=PROJECT,
            content_sha256="0" * 64,
            priority=Priority.BATCH,
            completion_window="24h",
            created_at=_NOW,
            expires_at=_NOW + timedelta(days=1),
            name=name,
        )
        number = batches.create(connection, new)
    for first in range(1, lines + 1, _BLOCK):
        _write(database, number, range(first, min(first + _BLOCK, lines + 1)))
    with database.transaction() as connection:
        connection.execute(
            update(batches_table)
            .where(batches_table.c.number == number)
            .values(
                status=BatchStatus.COMPLETED.value,
                total=lines,
                completed=lines,
                completed_at=_NOW,
                in_progress_at=_NOW,
            )
        )
    return number


def _write(database: Database, number: int, lines: Sequence[int]) -> None:
    with database.transaction() as connection:
        insert_rows(connection, jobs, [_job(number, line) for line in lines])
        insert_rows(connection, results, [_result(number, line) for line in lines])


def _job(number: int, line: int) -> dict[str, object]:
    request = Request(messages=({"role": "user", "content": prompt(line)},), max_tokens=256)
    return {
        "id": job_id_of(number, line),
        "custom_id": f"line-{line}",
        "status": "completed",
        "request": request.to_json().decode(),
    }


def _result(number: int, line: int) -> dict[str, object]:
    return {
        "job_id": job_id_of(number, line),
        "status": "completed",
        "model": "bench-cheap-a",
        "provider": "bench",
        "tier": "cheap",
        "task_type": "analysis",
        "difficulty": 410,
        "finish_reason": "stop",
        "attempts": 1,
        "cost_nusd": 35_400,
        "strongest_nusd": 885_000,
        "latency_ms": 203,
        "body": _BODY,
        "decision": _DECISION,
        "ended_at": _NOW,
    }
