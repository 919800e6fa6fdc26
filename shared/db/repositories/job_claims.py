"""Jobs under a worker's claim: taken, kept, given back and ended, guarded by status and token.

A claim that was lost (the lease ran out, another worker has the job) shows as a job missing from
the verb's answer: the caller drops what it wanted to write about that job's state, while the cost
of its attempt is written all the same.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Update,
    and_,
    bindparam,
    exists,
    literal_column,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from shared.db.bulk import among, gathered, insert_rows, listed, made_once, together
from shared.db.tables import attempts, batches, jobs, results
from shared.domain.batch import RUNS
from shared.domain.blame import BlameRule, Guilt
from shared.domain.job import LINE_BITS, JobStatus, batch_number_of
from shared.domain.values import made_often


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


def claim(
    connection: Connection,
    ids: Sequence[int],
    token: str,
    lease_until: datetime,
    *,
    sparing: BlameRule | None = None,
) -> int:
    """Take those of the jobs that are queued and whose batch runs, and return how many they are;
    the others are taken, ended, held or duplicates and stay as they are (a message may come twice).
    Which ones, `claimed` reads when this is committed, so that others may write meanwhile.

    sparing: leave those that run alone by this rule (see `to_run_alone`).
    """
    numbers = listed(connection, {batch_number_of(i) for i in ids})
    running = set(connection.execute(_running_batches(connection), {"numbers": numbers}).scalars())
    wanted = [i for i in ids if batch_number_of(i) in running]
    if not wanted:
        return 0
    parameters = {
        "ids": listed(connection, wanted),
        "token": token,
        "until": lease_until,
        **(_SPARING_NONE if sparing is None else _values_of(sparing)),
    }
    return connection.execute(_claiming(connection), parameters).rowcount


@made_once
def _running_batches(connection: Connection) -> Select[Any]:
    return select(batches.c.number).where(
        among(connection, batches.c.number, "numbers"),
        batches.c.status.in_(RUNS),
    )


_SPARING_NONE: Final = dict.fromkeys(("unexplained", "last_deaths", "last_blamed"), 2**31 - 1)


def _values_of(rule: BlameRule) -> Mapping[str, int]:
    return {
        "unexplained": rule.unexplained,
        "last_deaths": rule.last_deaths,
        "last_blamed": rule.last_blamed,
    }


def _runs_alone() -> ColumnElement[bool]:
    """`BlameRule.runs_alone`, in SQL."""
    return or_(
        jobs.c.deaths >= bindparam("unexplained"),
        and_(
            jobs.c.deaths >= bindparam("last_deaths"),
            jobs.c.blamed >= bindparam("last_blamed"),
        ),
    )


@made_once
def _claiming(connection: Connection) -> Update:
    return (
        update(jobs)
        .where(
            among(connection, jobs.c.id, "ids"),
            jobs.c.status == JobStatus.QUEUED,
            jobs.c.duplicate_of.is_(None),
            not_(_runs_alone()),
        )
        .values(**_TAKEN)
    )


_TAKEN: Final[Mapping[str, Any]] = {
    "status": JobStatus.RUNNING.value,
    "claim_token": bindparam("token"),
    "lease_until": bindparam("until"),
    "run_after": None,
    "wait_reason": None,
}


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


def untouched(connection: Connection, ids: Sequence[int], token: str) -> list[ClaimedJob]:
    """Those of the jobs that are queued in a batch that runs and that no worker has ever had, in
    input order, as they are once `claim_untouched` has taken them under this token.
    """
    found = connection.execute(_never_begun(connection), {"ids": listed(connection, ids)})
    return [ClaimedJob(row.id, row.custom_id, row.request, token, 0, None, None) for row in found]


@made_once
def _never_begun(connection: Connection) -> Select[Any]:
    return (
        select(jobs.c.id, jobs.c.custom_id, jobs.c.request)
        .where(among(connection, jobs.c.id, "ids"), *_UNTOUCHED)
        .order_by(jobs.c.id)
    )


_UNTOUCHED: Final = (
    jobs.c.status == JobStatus.QUEUED,
    jobs.c.duplicate_of.is_(None),
    jobs.c.deaths == 0,
    jobs.c.decision.is_(None),
    ~exists().where(attempts.c.job_id == jobs.c.id),
    exists().where(
        batches.c.number == jobs.c.id.op(">>")(literal_column(str(LINE_BITS))),
        batches.c.status.in_(RUNS),
    ),
)


def claim_untouched(
    connection: Connection, ids: Sequence[int], token: str, lease_until: datetime
) -> Sequence[int]:
    """As `claim`, those of the jobs that no worker has had; returns which. Made again, because the
    answer of its commit was lost, it takes nothing that was taken back from this claim since.
    """
    parameters = {"ids": listed(connection, ids), "token": token, "until": lease_until}
    return connection.execute(_claiming_untouched(connection), parameters).scalars().all()


@made_once
def _claiming_untouched(connection: Connection) -> ReturningUpdate[Any]:
    return (
        update(jobs)
        .where(among(connection, jobs.c.id, "ids"), *_UNTOUCHED)
        .values(**_TAKEN)
        .returning(jobs.c.id)
    )


def to_run_alone(connection: Connection, ids: Sequence[int], rule: BlameRule) -> Sequence[int]:
    """Those of the jobs that are queued and may have nothing else beside them in their process."""
    query = (
        select(jobs.c.id)
        .where(jobs.c.id.in_(ids), jobs.c.status == JobStatus.QUEUED, _runs_alone())
        .order_by(jobs.c.id)
    )
    return connection.execute(query, _values_of(rule)).scalars().all()


def blame(connection: Connection, job_id: int, token: str) -> None:
    """The worker gives the job up under this claim, and knows that it was the job's fault."""
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.claim_token == token)
        .values(blamed=jobs.c.blamed + 1)
    )


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


FREED: Final = {
    "claim_token": None,
    "lease_until": None,
    "run_after": None,
    "wait_reason": None,
    "waiting_since": None,
}
"""What a job has that no worker has and that waits for nothing."""


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
        .values(status=bindparam("end"), decision=None, **FREED)
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
                **FREED,
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


def lapsed_claims(connection: Connection, now: datetime, limit: int) -> set[str]:
    """The claim tokens of those that `lapsed` would give."""
    query = _lapsed(select(jobs.c.claim_token), now, limit)
    return set(connection.execute(query).scalars())


def lapsed(connection: Connection, now: datetime, limit: int) -> Sequence[Any]:
    """Running jobs whose worker has not renewed its lease, locked, oldest lease first."""
    query = _lapsed(select(jobs.c.id, jobs.c.deaths, jobs.c.blamed, jobs.c.claim_token), now, limit)
    return connection.execute(query.with_for_update(skip_locked=True)).all()


def _lapsed(query: Select[Any], now: datetime, limit: int) -> Select[Any]:
    return (
        query.where(
            jobs.c.lease_until.is_not(None),
            jobs.c.lease_until < now,
            jobs.c.status == JobStatus.RUNNING,
        )
        .order_by(jobs.c.lease_until)
        .limit(limit)
    )


def rescue(connection: Connection, ids: Sequence[int], guilt: Guilt) -> None:
    """Their worker is gone: back to the queue, with what that says about them."""
    connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(ids), jobs.c.status == JobStatus.RUNNING)
        .values(
            status=JobStatus.QUEUED.value,
            claim_token=None,
            lease_until=None,
            deaths=jobs.c.deaths + guilt.deaths,
            blamed=jobs.c.blamed + guilt.blamed,
        )
    )
