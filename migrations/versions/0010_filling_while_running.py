"""Batches that run while they are filled: the status `filling`, and how much of the file is in.

SQLite cannot change a CHECK, so there the table is made anew as SQLite's documentation of ALTER
TABLE says: the new one, its rows, the old one away, the new one under the old name, its indexes.
The place at which numbers go on moves with it: none is ever given out again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_WAS_OPEN = "status IN ('validating', 'in_progress', 'finalizing', 'cancelling')"
_OPEN = "status IN ('validating', 'filling', 'in_progress', 'finalizing', 'cancelling')"
_REST = "'failed', 'in_progress', 'finalizing', 'completed', 'expired', 'cancelling', 'cancelled')"
_WERE = f"status IN ('validating', {_REST}"
_ARE = f"status IN ('validating', 'filling', {_REST}"


def upgrade() -> None:
    """Add the columns, then the word to the CHECK and to the index of open batches."""
    op.add_column("batches", sa.Column("content_bytes", sa.BigInteger()))
    op.add_column("batches", sa.Column("fed_at", sa.DateTime(timezone=True)))
    op.drop_index("ix_batches_open", "batches")
    _check(_WERE, _ARE)
    _open_index(_OPEN)


def downgrade() -> None:
    """Take them away; what was being filled is called off, for nobody would fill it on."""
    op.drop_index("ix_batches_open", "batches")
    op.execute("UPDATE batches SET status = 'cancelling' WHERE status = 'filling'")
    _check(_ARE, _WERE)
    _open_index(_WAS_OPEN)
    op.drop_column("batches", "fed_at")
    op.drop_column("batches", "content_bytes")


def _open_index(condition: str) -> None:
    where = sa.text(condition)
    op.create_index(
        "ix_batches_open",
        "batches",
        ["status", "number"],
        sqlite_where=where,
        postgresql_where=where,
    )


def _check(before: str, after: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        _made_anew(before, after)
    else:
        op.drop_constraint("ck_batches_status", "batches", type_="check")
        op.create_check_constraint("ck_batches_status", "batches", after)


def _made_anew(before: str, after: str) -> None:
    connection = op.get_bind()
    of_table = "SELECT sql FROM sqlite_master WHERE tbl_name = 'batches' AND sql IS NOT NULL"
    table = connection.exec_driver_sql(f"{of_table} AND type = 'table'").scalar_one()
    indexes = connection.exec_driver_sql(f"{of_table} AND type = 'index'").scalars().all()
    head, rest = table.split("(", 1)
    if "batches" not in head or before not in rest:
        raise RuntimeError("the table `batches` is not the one of the version before")
    connection.exec_driver_sql(f"CREATE TABLE made_anew ({rest.replace(before, after)}")
    connection.exec_driver_sql("INSERT INTO made_anew SELECT * FROM batches")
    connection.exec_driver_sql(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'made_anew', 0 "
        "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'made_anew')"
    )
    connection.exec_driver_sql(
        "UPDATE sqlite_sequence SET seq = coalesce("
        "(SELECT seq FROM sqlite_sequence WHERE name = 'batches'), 0) WHERE name = 'made_anew'"
    )
    connection.exec_driver_sql("DROP TABLE batches")
    connection.exec_driver_sql("ALTER TABLE made_anew RENAME TO batches")
    for index in indexes:
        connection.exec_driver_sql(index)
