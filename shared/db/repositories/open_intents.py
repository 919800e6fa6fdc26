"""Which attempts are open: those of running jobs that have not ended.

Attempts have no index by their status, which each of them would enter and leave: on PostgreSQL it
holds what left it until a vacuum, and keeps a row from being changed in its place. An attempt is
open only while its job runs (it is opened under the job's claim; whoever takes the claim away
closes it in the same transaction), so the running jobs lead to it.
"""

from sqlalchemy import ColumnElement, Connection, and_, func, select

from shared.db.tables import attempts, jobs
from shared.domain.attempt import AttemptStatus
from shared.domain.job import JobStatus


def are_open(connection: Connection) -> ColumnElement[bool]:
    """The condition. As an array on PostgreSQL, which then always goes by the index of job ids,
    whatever it believes about the number of running jobs.
    """
    running = select(jobs.c.id).where(
        jobs.c.lease_until.is_not(None), jobs.c.status == JobStatus.RUNNING
    )
    of_running: ColumnElement[bool]
    if connection.dialect.name == "sqlite":
        of_running = attempts.c.job_id.in_(running)
    else:
        of_running = attempts.c.job_id == func.any(func.array(running.scalar_subquery()))
    return and_(of_running, attempts.c.status == AttemptStatus.OPEN)
