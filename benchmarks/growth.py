"""A database that has been in use for long: many ended jobs, and a little of everything under way.

Written by a handful of statements in the database itself, so that ten million jobs take minutes.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from shared.db.engine import Connection, Database

PROJECT = "big"
STAGED, RUNNING, HELD = 200, 100, 300
"""Jobs of the newest batch in these states."""
_SHARE_FAILED = 97
"""One ended job in so many has failed."""


@dataclass(frozen=True, slots=True)
class Grown:
    """What was written. The batches come first, the newest of them runs; chats come after them."""

    batches: int
    jobs: int
    chats: int
    now: datetime

    @property
    def running(self) -> int:
        """The number of the batch that runs; the others have ended."""
        return self.batches


def grow(database: Database, batches: int, jobs: int, chats: int, now: datetime) -> Grown:
    """`batches` batches of `jobs` jobs each, and chats of one job each; in an empty database."""
    values = {
        "project": PROJECT,
        "batches": batches,
        "jobs": jobs,
        "chats": chats,
        "now": _moment(database, now),
        "old": _moment(database, now - timedelta(days=3)),
        "soon": _moment(database, now + timedelta(hours=1)),
        "staged": STAGED,
        "running": STAGED + RUNNING,
        "held": STAGED + RUNNING + HELD,
        "failed": _SHARE_FAILED,
    }
    for statement in _STATEMENTS:
        # On SQLite moments are texts, and a cast would make numbers of them.
        said = _TIME_CAST.sub(r"\1", statement) if database.is_sqlite else statement
        with database.transaction() as connection:
            connection.execute(text(said), values)
    with database.transaction() as connection:
        _analyse(connection)
    return Grown(batches, jobs, chats, now)


def _moment(database: Database, moment: datetime) -> object:
    if database.is_sqlite:
        return moment.replace(tzinfo=None).isoformat(" ", "microseconds")
    return moment


def _analyse(connection: Connection) -> None:
    # What the server does by itself in the background. SQLite does not, so its plans are those of
    # a database that nobody has ever looked through.
    if connection.dialect.name != "sqlite":
        connection.execute(text("ANALYZE"))


_TIME_CAST = re.compile(r"CAST\((:\w+) AS TIMESTAMPTZ\)")
_NUMBERS = (
    "WITH RECURSIVE b(b) AS (SELECT 1 UNION ALL SELECT b + 1 FROM b WHERE b < :batches), "
    "l(l) AS (SELECT 1 UNION ALL SELECT l + 1 FROM l WHERE l < :jobs), "
    "c(c) AS (SELECT 1 UNION ALL SELECT c + 1 FROM c WHERE c < :chats) "
)
_ID = "CAST(b AS BIGINT) * 16777216 + l"
_CHAT = "CAST(:batches + c AS BIGINT) * 16777216 + 1"
_STATUS = (
    "CASE WHEN b < :batches THEN CASE WHEN l % :failed = 0 THEN 'failed' ELSE 'completed' END "
    "WHEN l <= :staged THEN 'queued' WHEN l <= :running THEN 'running' "
    "WHEN l <= :held THEN 'held' ELSE 'queued' END"
)
_ENDED = "b < :batches"
_BATCH_COLUMNS = (
    "number, id, project_id, status, priority, content_sha256, metadata, completion_window, "
    "total, completed, failed, created_at, expires_at, in_progress_at, completed_at"
)
_RESULT_COLUMNS = (
    "job_id, status, model, provider, tier, attempts, cost_nusd, body, error, ended_at"
)
_ATTEMPT_COLUMNS = (
    "id, job_id, project_id, ordinal, purpose, status, rung, model, provider, tier, key_id, "
    "reserved_nusd, cost_nusd, day, month, started_at, ended_at"
)
_ATTEMPT = "'p', 1, 'answer', 'billed', 0, 'm', 'x', 'cheap', 'k', 5, 5, '2026-01-01', '2026-01'"
_LAST = "THEN NULL ELSE"

_STATEMENTS = (
    "INSERT INTO projects (id, created_at, routing) VALUES (:project, :old, '{}')",
    f"""{_NUMBERS} INSERT INTO batches ({_BATCH_COLUMNS})
    SELECT b, 'batch_' || b, :project,
        CASE WHEN {_ENDED} THEN 'completed' ELSE 'in_progress' END, 'batch', '0', '{{}}', '24h',
        :jobs, CASE WHEN {_ENDED} THEN :jobs - :jobs / :failed ELSE 0 END,
        CASE WHEN {_ENDED} THEN :jobs / :failed ELSE 0 END, CAST(:old AS TIMESTAMPTZ),
        CAST(:soon AS TIMESTAMPTZ), CAST(:old AS TIMESTAMPTZ),
        CASE WHEN {_ENDED} THEN CAST(:old AS TIMESTAMPTZ) END FROM b""",
    f"""{_NUMBERS} INSERT INTO batches ({_BATCH_COLUMNS})
    SELECT :batches + c, 'chat_' || c, :project, 'completed', 'interactive', '0', '{{}}', '24h',
        1, 1, 0, CAST(:old AS TIMESTAMPTZ), CAST(:soon AS TIMESTAMPTZ), CAST(:old AS TIMESTAMPTZ),
        CAST(:old AS TIMESTAMPTZ) FROM c""",
    f"""{_NUMBERS} INSERT INTO jobs
        (id, custom_id, status, request, claim_token, lease_until, held_scope, need_nusd)
    SELECT {_ID}, 'line-' || l, {_STATUS}, '{{"messages":[{{"role":"user","content":"x"}}]}}',
        CASE WHEN {_ENDED} OR l <= :staged OR l > :running {_LAST} 't' || l / 10 END,
        CASE WHEN {_ENDED} OR l > :running {_LAST} CAST(:soon AS TIMESTAMPTZ) END,
        CASE WHEN {_ENDED} OR l <= :running OR l > :held {_LAST} 'day:' || :project END,
        CASE WHEN {_ENDED} OR l <= :running OR l > :held {_LAST} 5 END
    FROM b CROSS JOIN l""",
    f"""{_NUMBERS} INSERT INTO jobs (id, status, request)
    SELECT {_CHAT}, 'completed', '{{"messages":[{{"role":"user","content":"x"}}]}}' FROM c""",
    f"""{_NUMBERS} INSERT INTO results ({_RESULT_COLUMNS})
    SELECT {_ID}, {_STATUS}, 'm', 'x', 'cheap', 1, 5,
        CASE WHEN l % :failed = 0 {_LAST} '{{"choices":[]}}' END,
        CASE WHEN l % :failed = 0 THEN '{{"code":"refused"}}' END, CAST(:old AS TIMESTAMPTZ)
    FROM b CROSS JOIN l WHERE {_ENDED}""",
    f"""{_NUMBERS} INSERT INTO results ({_RESULT_COLUMNS})
    SELECT {_CHAT}, 'completed', 'm', 'x', 'cheap', 1, 5, '{{"choices":[]}}', NULL,
        CAST(:old AS TIMESTAMPTZ) FROM c""",
    f"""{_NUMBERS} INSERT INTO attempts ({_ATTEMPT_COLUMNS})
    SELECT 'a' || ({_ID}), {_ID}, {_ATTEMPT}, CAST(:old AS TIMESTAMPTZ), CAST(:old AS TIMESTAMPTZ)
    FROM b CROSS JOIN l WHERE {_ENDED}""",
    f"""{_NUMBERS} INSERT INTO attempts ({_ATTEMPT_COLUMNS})
    SELECT 'o' || ({_ID}), {_ID}, {_ATTEMPT.replace("'billed'", "'open'").replace("5, 5", "5, 0")},
        CAST(:old AS TIMESTAMPTZ), NULL
    FROM b CROSS JOIN l WHERE NOT ({_ENDED}) AND l > :staged AND l <= :running""",
    f"""{_NUMBERS} INSERT INTO outbox (id, project_id, type, data, created_at, relayed_at)
    SELECT 'evt_' || b || '_' || l, :project, 'job.completed', '{{}}', CAST(:old AS TIMESTAMPTZ),
        CASE WHEN {_ENDED} THEN CAST(:old AS TIMESTAMPTZ) END
    FROM b CROSS JOIN l WHERE l <= 50""",
    """INSERT INTO webhook_endpoints
        (id, project_id, name, url, event_types, status, secret, created_at, updated_at)
    VALUES ('we_1', :project, 'n', 'https://x', '[]', 'enabled', 's', :old, :old)""",
    f"""{_NUMBERS} INSERT INTO webhook_deliveries
        (id, endpoint_id, event_id, event_type, payload, status, next_try_at, created_at, ended_at)
    SELECT 'd_' || b || '_' || l, 'we_1', 'evt_' || b || '_' || l, 'job.completed', '{{}}',
        CASE WHEN {_ENDED} THEN 'delivered' ELSE 'pending' END,
        CASE WHEN {_ENDED} {_LAST} CAST(:old AS TIMESTAMPTZ) END, CAST(:old AS TIMESTAMPTZ),
        CASE WHEN {_ENDED} THEN CAST(:old AS TIMESTAMPTZ) END
    FROM b CROSS JOIN l WHERE l <= 50""",
    f"""{_NUMBERS} INSERT INTO files
        (id, project_id, batch_number, purpose, filename, created_at, expires_at, deleted_at)
    SELECT 'file-' || b || '-' || l, :project, b, 'batch_output', 'f', CAST(:old AS TIMESTAMPTZ),
        CASE WHEN l % 2 = 0 THEN CAST(:soon AS TIMESTAMPTZ) END,
        CASE WHEN b = 1 AND l = 1 THEN CAST(:old AS TIMESTAMPTZ) END
    FROM b CROSS JOIN l WHERE l <= 20""",
)
