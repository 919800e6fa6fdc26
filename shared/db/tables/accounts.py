"""Who works here: projects with their limits and wishes, their keys, and their templates."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table

from shared.db.base import Json, UtcDateTime, counter, metadata

projects = Table(
    "projects",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("day_limit_nusd", BigInteger),
    Column("month_limit_nusd", BigInteger),
    Column("total_limit_nusd", BigInteger),
    # what routing takes from the project: its wishes, and the trial that runs
    Column("routing", Json, nullable=False),
    # for how long answers are kept for the next one who asks the same (NULL: not at all), and the
    # name of the cache they are kept in: another name is an empty cache
    Column("cache_ttl_s", Integer),
    Column("cache_name", String(32)),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("name", String(200), nullable=False),
    # sha256 of the key: keys are 256 random bits, so a fast hash loses nothing
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("hint", String(16), nullable=False),
    Column("scopes", Json, nullable=False),
    Column("requests_per_minute", Integer),
    Column("tokens_per_day", BigInteger),
    Column("spend_limit_nusd", BigInteger),
    # what its batches cost that were deleted by age
    counter("pruned_nusd"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Index(None, "project_id"),
)

templates = Table(
    "templates",
    metadata,
    Column("project_id", ForeignKey("projects.id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    # rises by one with every change and is never given out again
    Column("version", Integer, primary_key=True, autoincrement=False),
    # a native line's fields, with {{ variables }} in its texts
    Column("fields", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # all versions of a name are deleted together; what jobs were made by stays readable
    Column("deleted_at", UtcDateTime),
)
