"""A worker without one of its guards, which `CRASH_WITHOUT` names; see `crippled_maintenance`.

* `takeover`: it never takes an abandoned rebuild of the ledger over.
* `claim`: it takes jobs whatever their state, as if no claim guarded them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from shared.db.repositories import job_claims
from shared.db.repositories.job_claims import ClaimedJob
from shared.db.tables import jobs as jobs_table
from shared.domain.job import JobStatus
from tests.servers.crippled_maintenance import CLAIM, TAKEOVER, WITHOUT, never_take_over
from worker.app import app

__all__ = ["app"]

_guarded = job_claims.claim


def claim(
    connection: Connection, ids: Sequence[int], token: str, until: datetime, **options: Any
) -> list[ClaimedJob]:
    connection.execute(
        update(jobs_table)
        .where(jobs_table.c.id.in_(ids))
        .values(status=JobStatus.QUEUED.value, claim_token=None, lease_until=None)
    )
    return _guarded(connection, ids, token, until, **options)


if WITHOUT == TAKEOVER:
    never_take_over()
if WITHOUT == CLAIM:
    job_claims.claim = claim
