"""What the reconciler and the ledger's opener ask the database."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, func, select

from shared.db.repositories.open_intents import are_open
from shared.db.tables import attempts, batches, projects, spend
from shared.domain.attempt import AttemptStatus
from shared.domain.batch import TERMINAL
from shared.domain.job import batch_number_of


def scopes_with_open_intents(connection: Connection) -> set[str]:
    """The text of every scope on which a call that is under way weighs."""
    query = (
        select(attempts.c.job_id, attempts.c.project_id, attempts.c.day, attempts.c.month)
        .where(are_open(connection))
        .distinct()
    )
    texts: set[str] = set()
    numbers: set[int] = set()
    for row in connection.execute(query):
        numbers.add(batch_number_of(row.job_id))
        texts |= {
            f"day:{row.project_id}:{row.day}",
            f"month:{row.project_id}:{row.month}",
            f"total:{row.project_id}",
        }
    query = select(batches.c.id, batches.c.key_id).where(batches.c.number.in_(numbers))
    for batch in connection.execute(query):
        texts.add(f"batch:{batch.id}")
        if batch.key_id is not None:
            texts.add(f"key:{batch.key_id}")
    return texts


def prices(connection: Connection, ids: Collection[str]) -> dict[str, tuple[AttemptStatus, int]]:
    """Status and cost of those of the attempts that have a row."""
    query = select(attempts.c.id, attempts.c.status, attempts.c.cost_nusd).where(
        attempts.c.id.in_(ids)
    )
    return {row.id: (AttemptStatus(row.status), row.cost_nusd) for row in connection.execute(query)}


def ended_batches(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of these batches have ended."""
    query = select(batches.c.id).where(
        batches.c.id.in_(ids), batches.c.status.in_([status.value for status in TERMINAL])
    )
    return set(connection.execute(query).scalars())


def known_projects(connection: Connection) -> set[str]:
    """All projects' ids."""
    return set(connection.execute(select(projects.c.id)).scalars())


def day_sums(connection: Connection, since: str) -> dict[tuple[str, str], int]:
    """What `spend` holds per project and day, from a day on."""
    query = (
        select(spend.c.project_id, spend.c.period, func.sum(spend.c.spent_nusd))
        .where(spend.c.kind == "day", spend.c.period >= since)
        .group_by(spend.c.project_id, spend.c.period)
    )
    return {(project, day): int(spent) for project, day, spent in connection.execute(query)}
