"""Which jobs run alone says one rule, in Python and in SQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from sqlalchemy import bindparam, update

from shared.db.engine import Database
from shared.db.repositories import batch_moves, batches, job_claims, jobs, projects
from shared.db.repositories.batches import NewBatch
from shared.db.repositories.jobs import TakenLine
from shared.db.tables import jobs as jobs_table
from shared.domain.batch import Priority
from shared.domain.blame import BlameRule
from shared.domain.job import job_id_of
from shared.ids import claim_token, new_id

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
COUNTS = [(deaths, blamed) for deaths, blamed in product(range(13), range(5)) if blamed <= deaths]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def test_the_database_spares_exactly_the_jobs_that_run_alone(database: Database):
    new = NewBatch(new_id("batch"), "acme", "0" * 64, Priority.BATCH, "24h", NOW, NOW)
    with database.transaction() as connection:
        projects.create(connection, "acme", NOW)
        number = batches.create(connection, new)
        lines = [TakenLine(n, None, "{}") for n in range(1, len(COUNTS) + 1)]
        jobs.insert_lines(connection, number, lines, NOW)
        batches.add_taken(connection, number, lines=len(lines), rejected=0)
        batch_moves.seal(connection, number, NOW)
        counted = {job_id_of(number, n): counts for n, counts in enumerate(COUNTS, 1)}
        connection.execute(
            update(jobs_table)
            .where(jobs_table.c.id == bindparam("job"))
            .values(deaths=bindparam("saw"), blamed=bindparam("was_blamed")),
            [{"job": i, "saw": saw, "was_blamed": was} for i, (saw, was) in counted.items()],
        )
    for max_deaths in (1, 2, 3, 4, 20):
        rule = BlameRule(max_deaths)
        alone = [i for i, counts in counted.items() if rule.runs_alone(*counts)]
        token = claim_token()
        with database.transaction() as connection, connection.begin_nested() as trial:
            assert job_claims.to_run_alone(connection, list(counted), rule) == alone
            job_claims.claim(connection, list(counted), token, NOW + timedelta(1), sparing=rule)
            taken = [job.id for job in job_claims.claimed(connection, list(counted), token)]
            trial.rollback()
        assert sorted({*taken, *alone}) == list(counted)
        assert len(taken) + len(alone) == len(counted)
