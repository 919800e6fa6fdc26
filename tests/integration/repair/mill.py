"""What clients and workers would do to the database, in a line each, so that it can be undone."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import redis.asyncio
from sqlalchemy import func, select, text, update

from shared.budget.ledger import AsyncLedger, Ledger
from shared.budget.model import Reserved, ReserveRequest, Scope
from shared.budget.windows import periods, scopes_for
from shared.db.engine import Database
from shared.db.repositories import (
    attempts,
    batch_moves,
    batches,
    budgets,
    job_claims,
    jobs,
    projects,
)
from shared.db.repositories.attempts import Closing, Intent
from shared.db.repositories.batches import NewBatch
from shared.db.repositories.jobs import TakenLine
from shared.db.tables import batches as batches_table
from shared.db.tables import jobs as jobs_table
from shared.db.tables import outbox
from shared.db.tables import results as results_table
from shared.domain.attempt import AttemptStatus, Purpose
from shared.domain.batch import Priority
from shared.domain.job import job_id_of
from shared.ids import attempt_id, claim_token, new_id
from worker.ledger_opening import LedgerOpener

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=15)


class Mill:
    """A database with whatever the test puts into it; times are its own."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self.database = database
        self.ledger = ledger

    def project(self, project_id: str = "acme", **limits: int | None) -> str:
        with self.database.transaction() as connection:
            projects.create(connection, project_id, NOW)
            budgets.set_limits(connection, project_id, limits)
        return project_id

    def batch(
        self,
        lines: int,
        project_id: str = "acme",
        *,
        sealed: bool = True,
        priority: Priority = Priority.BATCH,
        expires_at: datetime = NOW + timedelta(days=1),
        max_cost_nusd: int | None = None,
        duplicates: int = 0,
    ) -> int:
        """`duplicates`: so many of the last lines ask what the first one asks."""
        self.project(project_id)
        with self.database.transaction() as connection:
            new = NewBatch(
                new_id("batch"),
                project_id,
                "0" * 64,
                priority,
                "24h",
                NOW,
                expires_at,
                max_cost_nusd=max_cost_nusd,
            )
            number = batches.create(connection, new)
            first = lines - duplicates
            taken = [
                TakenLine(i, f"line-{i}", "{}", duplicate_of=1 if i > first else None)
                for i in range(1, lines + 1)
            ]
            jobs.insert_lines(connection, number, taken, NOW)
            batches.add_taken(connection, number, lines=lines, rejected=0, duplicates=duplicates)
            if sealed:
                batch_moves.seal(connection, number, NOW)
        return number

    def row(self, number: int) -> Any:
        with self.database.reading() as connection:
            row = batches.by_number(connection, number)
        assert row is not None
        return row

    def job(self, number: int, line: int) -> Any:
        query = select(jobs_table).where(jobs_table.c.id == job_id_of(number, line))
        with self.database.reading() as connection:
            return connection.execute(query).one()

    def result(self, number: int, line: int) -> Any:
        query = select(results_table).where(results_table.c.job_id == job_id_of(number, line))
        with self.database.reading() as connection:
            return connection.execute(query).one_or_none()

    def statuses(self, number: int) -> dict[str, int]:
        query = (
            select(jobs_table.c.status, func.count().label("jobs"))
            .where(jobs_table.c.id.between(*batches.id_range(number)))
            .group_by(jobs_table.c.status)
        )
        with self.database.reading() as connection:
            return {row.status: row.jobs for row in connection.execute(query)}

    def events(self) -> list[str]:
        with self.database.reading() as connection:
            query = select(outbox.c.type).order_by(outbox.c.number)
            return list(connection.execute(query).scalars())

    def jobs(self, number: int) -> list[Any]:
        """In input order."""
        with self.database.reading() as connection:
            of_batch = jobs_table.c.id.between(*batches.id_range(number))
            query = select(jobs_table).where(of_batch).order_by(jobs_table.c.id)
            return list(connection.execute(query))

    def claim(self, number: int, *lines: int, now: datetime = NOW, by: str = "") -> str:
        token = claim_token(by)
        ids = [job_id_of(number, line) for line in lines]
        with self.database.transaction() as connection:
            claimed = job_claims.claim(connection, ids, token, now + LEASE)
        assert claimed == len(ids)
        return token

    def finish(self, number: int, token: str, *lines: int, failed: bool = False) -> None:
        """The worker's last word on jobs it still holds: completed, or failed."""
        ids = [job_id_of(number, line) for line in lines]
        row: dict[str, Any] = {"status": "completed", "body": "{}", "ended_at": NOW}
        if failed:
            row |= {"status": "failed", "body": None, "error": {"code": "x", "message": "y"}}
        with self.database.transaction() as connection:
            held = job_claims.still_claimed(connection, [(i, token) for i in ids])
            job_claims.finish(connection, [{"job_id": i, **row} for i, _ in sorted(held)])
            ended = "failed" if failed else "completed"
            step = batch_moves.Progress(**{ended: len(held)})
            batch_moves.add_progress(connection, {number: step}, NOW)

    def hold(self, number: int, scope: str, need_nusd: int, *lines: int) -> None:
        token = self.claim(number, *lines)
        rows = [
            {
                "id": job_id_of(number, line),
                "held_scope": scope,
                "need_nusd": need_nusd,
                "wait_reason": "no money",
                "decision": None,
            }
            for line in lines
        ]
        with self.database.transaction() as connection:
            job_claims.still_claimed(connection, [(row["id"], token) for row in rows])
            job_claims.park(connection, rows)

    def intent(self, number: int, line: int, amount_nusd: int, now: datetime = NOW) -> Intent:
        day, month = periods(now)
        return Intent(
            attempt_id(),
            job_id_of(number, line),
            self.row(number).project_id,
            1,
            Purpose.ANSWER,
            0,
            "model",
            "provider",
            "cheap",
            "key",
            amount_nusd,
            day,
            month,
            now,
        )

    def scopes(self, number: int, now: datetime = NOW) -> tuple[Scope, ...]:
        row = self.row(number)
        return scopes_for(row.project_id, row.id, now)

    def open_scopes(self, number: int, now: datetime = NOW) -> tuple[Scope, ...]:
        scopes = self.scopes(number, now)
        LedgerOpener(self.database, self.ledger).open_scopes(scopes)
        return scopes

    def reserve(self, intent: Intent, number: int, *, confirm: bool = True) -> None:
        """In Redis; the caller writes the intent, or is a worker that died before it could."""

        async def reserve() -> None:
            pool = self.ledger._client.connection_pool
            async with redis.asyncio.Redis(
                unix_socket_path=pool.connection_kwargs["path"]
            ) as client:
                ledger = AsyncLedger(client)
                scopes = self.scopes(number, intent.started_at)
                request = ReserveRequest(intent.id, scopes, intent.reserved_nusd)
                (outcome,) = await ledger.reserve([request])
                assert isinstance(outcome, Reserved), outcome
                if confirm:
                    assert await ledger.confirm(outcome.epoch, [intent.id]) == [True]

        asyncio.run(reserve())

    def write_intent(self, intent: Intent) -> None:
        with self.database.transaction() as connection:
            attempts.open_intents(connection, [intent])

    def close(self, intent: Intent, cost_nusd: int) -> None:
        """In the database only: the worker died before it could settle."""
        closing = Closing(intent, AttemptStatus.BILLED, cost_nusd, NOW)
        with self.database.transaction() as connection:
            progress = attempts.close(connection, [closing])
            batch_moves.add_progress(connection, progress, NOW)

    def spend(self, number: int, line: int, cost_nusd: int, now: datetime = NOW) -> None:
        intent = self.intent(number, line, cost_nusd, now)
        self.write_intent(intent)
        self.close(intent, cost_nusd)

    def balance(self, scope: Scope) -> tuple[int, int]:
        (balance,) = self.ledger.balance([scope])
        assert balance is not None
        return balance.spent_nusd, balance.reserved_nusd

    def execute(self, statement: str, **values: Any) -> None:
        with self.database.transaction() as connection:
            connection.execute(text(statement), values)

    def set_status(self, number: int, **values: Any) -> None:
        """What no verb does: for losses that are made by hand."""
        with self.database.transaction() as connection:
            connection.execute(
                update(batches_table).where(batches_table.c.number == number).values(**values)
            )
