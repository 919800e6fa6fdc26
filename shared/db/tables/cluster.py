"""The processes of the cluster: who leads, who lives, and what somebody should look at."""

from sqlalchemy import Column, Integer, String, Table

from shared.db.base import Json, UtcDateTime, counter, metadata

leaderships = Table(
    "leaderships",
    metadata,
    # who in the cluster runs a repairer, until when
    Column("name", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

worker_heartbeats = Table(
    "worker_heartbeats",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    counter("running", Integer),
)

alerts = Table(
    "alerts",
    metadata,
    # what somebody should look at, from its first sight until its end was told
    Column("key", String(300), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("project_id", String(64)),
    Column("message", String(500), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    # when it had lasted long enough to be told; since when it is gone again
    Column("raised_at", UtcDateTime),
    Column("gone_since", UtcDateTime),
    # {channel: the last that it told}; what failed is tried again at `tell_at`
    Column("told", Json, nullable=False),
    counter("tries", Integer),
    Column("tell_at", UtcDateTime, nullable=False),
)
