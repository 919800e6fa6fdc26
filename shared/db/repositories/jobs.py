"""Jobs: one verb for each move of the state machine, guarded by status and, for a worker's moves,
by its claim token.

A claim that was lost (the lease ran out, another worker has the job) shows as a job missing from
the verb's answer: the caller drops what it wanted to write about that job's state, while the cost
of its attempt is written all the same.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Update,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from shared.db.bulk import among, gathered, insert_rows, listed, made_once, together
from shared.db.repositories.batches import Progress, add_progress, id_range
from shared.db.tables import attempts, batches, jobs, results
from shared.domain.batch import RUNS
from shared.domain.job import TERMINAL, JobStatus, batch_number_of, job_id_of, line_of
from shared.domain.values import made_often

CANCELLED_ERROR = {
    "code": "batch_cancelled",
    "message": "The batch was cancelled before this request was executed.",
}
EXPIRED_ERROR = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}


class TakenLine(NamedTuple):
    """A line taken in: a request in its stored form, or why it was refused. duplicate_of: the
    earlier line whose answer it waits for.
    """

    line: int
    custom_id: str | None
    request: str | None
    error: Mapping[str, Any] | None = None
    duplicate_of: int | None = None


@made_often(frozen=True, slots=True)
class ClaimedJob:
    """A job under a worker's claim."""

    id: int
    custom_id: str | None
    request: str
    claim_token: str
    deaths: int
    waiting_since: datetime | None
    decision: Mapping[str, Any] | None


def insert_lines(
    connection: Connection, number: int, lines: Sequence[TakenLine], now: datetime
) -> None:
    """Write lines of a batch: good ones queued, refused ones failed with their error."""
    queued, failed = JobStatus.QUEUED.value, JobStatus.FAILED.value
    good = [
        {
            "id": job_id_of(number, line.line),
            "custom_id": line.custom_id,
            "status": queued if line.error is None else failed,
            "request": line.request,
            "duplicate_of": line.duplicate_of and job_id_of(number, line.duplicate_of),
        }
        for line in lines
    ]
    insert_rows(connection, jobs, good)
    refused = [
        {
            "job_id": job_id_of(number, line.line),
            "status": failed,
            "error": dict(line.error),
            "ended_at": now,
        }
        for line in lines
        if line.error is not None
    ]
    insert_rows(connection, results, refused)


def last_line(connection: Connection, number: int) -> int:
    """The last line of a batch that is in; 0 where none is."""
    query = select(func.max(jobs.c.id)).where(jobs.c.id.between(*id_range(number)))
    last = connection.execute(query).scalar_one()
    return 0 if last is None else line_of(last)


def any_open(connection: Connection, ids: Sequence[int]) -> bool:
    """Whether one of these jobs has not ended."""
    ended = [status.value for status in TERMINAL]
    query = (
        select(jobs.c.id)
        .where(among(connection, jobs.c.id, "ids"), jobs.c.status.not_in(ended))
        .limit(1)
    )
    return connection.execute(query, {"ids": listed(connection, ids)}).first() is not None


def stageable(
    connection: Connection,
    number: int,
    now: datetime,
    limit: int,
    *,
    lines: Sequence[int] | None = None,
) -> Sequence[int]:
    """Ids of a batch's queued jobs that no message is out for and that are due, in input order;
    duplicates are never due. lines: of these lines only.
    """
    only: tuple[ColumnElement[bool], ...] = ()
    values: dict[str, str] = {}
    if lines is not None:
        only = (among(connection, jobs.c.id, "ids"),)
        values = {"ids": listed(connection, [job_id_of(number, line) for line in lines])}
    query = (
        select(jobs.c.id)
        .where(
            jobs.c.id.between(*id_range(number)),
            jobs.c.status == JobStatus.QUEUED,
            jobs.c.lease_until.is_(None),
            jobs.c.duplicate_of.is_(None),
            or_(jobs.c.run_after.is_(None), jobs.c.run_after <= now),
            *only,
        )
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return connection.execute(query, values).scalars().all()


def mark_staged(connection: Connection, ids: Sequence[int], until: datetime) -> None:
    """A message is out for these; it should be taken by `until`."""
    connection.execute(
        update(jobs)
        .where(among(connection, jobs.c.id, "ids"), jobs.c.status == JobStatus.QUEUED)
        .values(lease_until=until),
        {"ids": listed(connection, ids)},
    )


def extend_staged(connection: Connection, number: int, until: datetime) -> int:
    """The messages are still in the broker: give them longer."""
    return connection.execute(
        update(jobs)
        .where(
            jobs.c.id.between(*id_range(number)),
            jobs.c.status == JobStatus.QUEUED,
            jobs.c.lease_until.is_not(None),
        )
        .values(lease_until=until)
    ).rowcount


def claim(
    connection: Connection,
    ids: Sequence[int],
    token: str,
    lease_until: datetime,
    *,
    deaths_below: int | None = None,
) -> int:
    """Take those of the jobs that are queued and whose batch runs, and return how many they are;
    the others are taken, ended, held or duplicates and stay as they are (a message may come twice).
    Which ones, `claimed` reads when this is committed, so that others may write meanwhile.

    deaths_below: leave those that have cost so many workers their lives (see `suspects`).
    """
    numbers = listed(connection, {batch_number_of(i) for i in ids})
    running = set(connection.execute(_running_batches(connection), {"numbers": numbers}).scalars())
    wanted = [i for i in ids if batch_number_of(i) in running]
    if not wanted:
        return 0
    parameters = {
        "ids": listed(connection, wanted),
        "deaths_below": _ANY_DEATHS if deaths_below is None else deaths_below,
        "token": token,
        "until": lease_until,
    }
    return connection.execute(_claiming(connection), parameters).rowcount


@made_once
def _running_batches(connection: Connection) -> Select[Any]:
    return select(batches.c.number).where(
        among(connection, batches.c.number, "numbers"),
        batches.c.status.in_(RUNS),
    )


_ANY_DEATHS: Final = 2**31 - 1


@made_once
def _claiming(connection: Connection) -> Update:
    return (
        update(jobs)
        .where(
            among(connection, jobs.c.id, "ids"),
            jobs.c.status == JobStatus.QUEUED,
            jobs.c.duplicate_of.is_(None),
            jobs.c.deaths < bindparam("deaths_below"),
        )
        .values(
            status=JobStatus.RUNNING.value,
            claim_token=bindparam("token"),
            lease_until=bindparam("until"),
            run_after=None,
            wait_reason=None,
        )
    )


def claimed(connection: Connection, ids: Sequence[int], token: str) -> list[ClaimedJob]:
    """Those of the jobs that are under this claim, in input order."""
    parameters = {"ids": listed(connection, ids), "token": token}
    return [ClaimedJob(*row) for row in connection.execute(_under_claim(connection), parameters)]


@made_once
def _under_claim(connection: Connection) -> Select[Any]:
    return (
        select(
            jobs.c.id,
            jobs.c.custom_id,
            jobs.c.request,
            jobs.c.claim_token,
            jobs.c.deaths,
            jobs.c.waiting_since,
            jobs.c.decision,
        )
        .where(
            among(connection, jobs.c.id, "ids"),
            jobs.c.status == JobStatus.RUNNING,
            jobs.c.claim_token == bindparam("token"),
        )
        .order_by(jobs.c.id)
    )


def suspects(connection: Connection, ids: Sequence[int], deaths: int) -> Sequence[int]:
    """Those of the jobs that are queued and have cost at least so many workers their lives."""
    query = (
        select(jobs.c.id)
        .where(jobs.c.id.in_(ids), jobs.c.status == JobStatus.QUEUED, jobs.c.deaths >= deaths)
        .order_by(jobs.c.id)
    )
    return connection.execute(query).scalars().all()


def renew(connection: Connection, tokens: Sequence[str], lease_until: datetime) -> int:
    """The worker is alive: its claims are good until then. Returns how many jobs it still has."""
    return connection.execute(
        update(jobs)
        .where(
            jobs.c.lease_until.is_not(None),
            jobs.c.claim_token.in_(tokens),
            jobs.c.status == JobStatus.RUNNING,
        )
        .values(lease_until=lease_until)
    ).rowcount


def still_claimed(
    connection: Connection, claims: Collection[tuple[int, str]]
) -> set[tuple[int, str]]:
    """Which of the (job, claim token) pairs still hold; locks those jobs for the transaction."""
    ids = listed(connection, {job_id for job_id, _ in claims})
    rows = gathered(connection, _running_ones(connection), {"ids": ids})
    return {(job_id, token) for job_id, token in rows} & set(claims)


@made_once
def _running_ones(connection: Connection) -> Select[Any]:
    """The claims of `ids`; locks them."""
    return together(
        connection,
        select(jobs.c.id, jobs.c.claim_token)
        .where(among(connection, jobs.c.id, "ids"), jobs.c.status == JobStatus.RUNNING)
        .order_by(jobs.c.id)
        .with_for_update(),
    )


_FREED = {
    "claim_token": None,
    "lease_until": None,
    "run_after": None,
    "wait_reason": None,
    "waiting_since": None,
}


def finish(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """End jobs that `still_claimed` has locked; each row is a row of `results` whose status is
    the job's end. The caller adds the batch's progress in the same transaction.
    """
    by_status: dict[str, list[int]] = {}
    for row in rows:
        by_status.setdefault(row["status"], []).append(row["job_id"])
    for status, ids in by_status.items():
        parameters = {"ids": listed(connection, ids), "end": status}
        connection.execute(_ending(connection), parameters)
    insert_rows(connection, results, rows)


@made_once
def _ending(connection: Connection) -> Update:
    return (
        update(jobs)
        .where(among(connection, jobs.c.id, "ids"))
        .values(status=bindparam("end"), decision=None, **_FREED)
    )


def park(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Hold jobs (locked by `still_claimed`) for want of money; each row gives id, held_scope,
    need_nusd, wait_reason and decision.
    """
    statement = (
        update(jobs)
        .where(jobs.c.id == bindparam("job_id"))
        .values(
            {
                **_FREED,
                "status": JobStatus.HELD.value,
                "held_scope": bindparam("held_scope"),
                "need_nusd": bindparam("need_nusd"),
                "wait_reason": bindparam("wait_reason"),
                "decision": bindparam("decision"),
            }
        )
    )
    connection.execute(statement, [_renamed(row) for row in rows])


def hand_back(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put jobs (locked by `still_claimed`) back into the queue; each row gives id, run_after,
    wait_reason, waiting_since and decision.
    """
    statement = (
        update(jobs)
        .where(jobs.c.id == bindparam("job_id"))
        .values(
            {
                "status": JobStatus.QUEUED.value,
                "claim_token": None,
                "lease_until": None,
                "run_after": bindparam("run_after"),
                "wait_reason": bindparam("wait_reason"),
                "waiting_since": bindparam("waiting_since"),
                "decision": bindparam("decision"),
            }
        )
    )
    connection.execute(statement, [_renamed(row) for row in rows])


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    # "id" would bind to the column of that name in the SET clause.
    return {("job_id" if key == "id" else key): value for key, value in row.items()}


def lapsed(connection: Connection, now: datetime, limit: int) -> Sequence[Any]:
    """Running jobs whose worker has not renewed its lease, locked, oldest lease first."""
    query = (
        select(jobs.c.id, jobs.c.deaths, jobs.c.claim_token)
        .where(
            jobs.c.lease_until.is_not(None),
            jobs.c.lease_until < now,
            jobs.c.status == JobStatus.RUNNING,
        )
        .order_by(jobs.c.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(query).all()


def rescue(connection: Connection, ids: Sequence[int]) -> None:
    """Their worker is gone: back to the queue, one death more each."""
    connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(ids), jobs.c.status == JobStatus.RUNNING)
        .values(
            status=JobStatus.QUEUED.value,
            claim_token=None,
            lease_until=None,
            deaths=jobs.c.deaths + 1,
        )
    )


def release(connection: Connection, ids: Sequence[int]) -> int:
    """There is money again: held jobs go back to the queue."""
    return connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(ids), jobs.c.status == JobStatus.HELD)
        .values(
            status=JobStatus.QUEUED.value,
            held_scope=None,
            need_nusd=None,
            wait_reason=None,
            lease_until=None,
        )
    ).rowcount


def end_waiting(
    connection: Connection, number: int, status: JobStatus, now: datetime, limit: int = 1000
) -> int:
    """Cancel or expire up to `limit` of a batch's queued and held jobs, each with its error row
    and in the batch's counts. Returns how many; call until it returns 0, a transaction each, so
    that a million jobs neither lock the table nor fill the memory.
    """
    error = CANCELLED_ERROR if status is JobStatus.CANCELLED else EXPIRED_ERROR
    found = _waiting(connection, number, limit)
    if not found:
        return 0
    ids = {"ids": listed(connection, found)}
    of_job = among(connection, jobs.c.id, "ids")
    freed = {"held_scope": None, "need_nusd": None, "decision": None, **_FREED}
    connection.execute(update(jobs).where(of_job).values(status=status.value, **freed), ids)
    spent = _spent_on(connection)
    connection.execute(
        insert(results).from_select(
            ["job_id", "status", "error", "ended_at", "attempts", "cost_nusd"],
            select(
                jobs.c.id,
                literal(status.value),
                literal(error, results.c.error.type),
                literal(now, results.c.ended_at.type),
                func.coalesce(spent.c.attempts, 0),
                func.coalesce(spent.c.cost_nusd, 0),
            )
            .select_from(jobs.outerjoin(spent, spent.c.job_id == jobs.c.id))
            .where(of_job),
        ),
        ids,
    )
    ended = len(found)
    step = Progress(cancelled=ended) if status is JobStatus.CANCELLED else Progress(expired=ended)
    add_progress(connection, {number: step}, now)
    return ended


def _waiting(connection: Connection, number: int, limit: int) -> Sequence[int]:
    """Ids of queued and held jobs, locked. Each kind by its own small index: in the table's order
    every call would begin by reading all those that the calls before it have ended.
    """
    first, last = id_range(number)
    queued = jobs.c.status == JobStatus.QUEUED
    of_batch = jobs.c.id.between(first, last)
    kinds = (
        (of_batch, queued, jobs.c.lease_until.is_(None), jobs.c.duplicate_of.is_(None)),
        (of_batch, jobs.c.status == JobStatus.HELD),
        # As an expression the id cannot lead the planner to the table's own order.
        ((jobs.c.id + 0).between(first, last), queued, jobs.c.lease_until.is_not(None)),
        (queued, jobs.c.duplicate_of.between(first, last)),
    )
    found: list[int] = []
    for conditions in kinds:
        if len(found) < limit:
            query = select(jobs.c.id).where(*conditions).limit(limit - len(found))
            found += connection.execute(query.with_for_update(skip_locked=True)).scalars()
    return found


def _spent_on(connection: Connection) -> Any:
    """Attempts and their cost per job, for jobs that ended without their own last word."""
    return (
        select(
            attempts.c.job_id,
            func.count().label("attempts"),
            func.sum(attempts.c.cost_nusd).label("cost_nusd"),
        )
        .where(among(connection, attempts.c.job_id, "ids"))
        .group_by(attempts.c.job_id)
        .subquery()
    )


def retry_failed(connection: Connection, number: int, limit: int = 5000) -> int:
    """Put up to `limit` failed jobs that have a request back into the queue; their error rows go.
    Lines refused at intake stay failed. Returns how many; call until it returns 0.
    """
    query = (
        select(jobs.c.id)
        .where(
            jobs.c.id.between(*id_range(number)),
            jobs.c.status == JobStatus.FAILED,
            jobs.c.request.is_not(None),
        )
        .order_by(jobs.c.id)
        .limit(limit)
        .with_for_update()
    )
    ids = connection.execute(query).scalars().all()
    if ids:
        connection.execute(delete(results).where(results.c.job_id.in_(ids)))
        connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(ids))
            .values(status=JobStatus.QUEUED.value, deaths=0, **_FREED)
        )
    return len(ids)
