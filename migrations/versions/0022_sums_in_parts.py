"""Sums of money in several rows each, so that those who write at the same moment do not wait for
one another's commit.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_KEYS = {
    "spend": ("project_id", "kind", "period"),
    "usage": ("project_id", "day", "model", "provider", "purpose", "task_type"),
}


def upgrade() -> None:
    """Add the part to both keys; what is there is the first part."""
    for table, key in _KEYS.items():
        with op.batch_alter_table(table) as changed:
            changed.add_column(sa.Column("part", sa.Integer(), server_default="0", nullable=False))
            changed.drop_constraint(f"pk_{table}", type_="primary")
            changed.create_primary_key(f"pk_{table}", [*key, "part"])


def downgrade() -> None:
    """Add the parts up and drop them."""
    for table, key in _KEYS.items():
        _add_up(table, key)
        with op.batch_alter_table(table) as changed:
            changed.drop_constraint(f"pk_{table}", type_="primary")
            changed.drop_column("part")
            changed.create_primary_key(f"pk_{table}", list(key))


def _add_up(table: str, key: tuple[str, ...]) -> None:
    connection = op.get_bind()
    reflected = sa.Table(table, sa.MetaData(), autoload_with=connection)
    columns = [reflected.c[name] for name in key]
    amounts = [column for column in reflected.c if column.name not in (*key, "part")]
    sums = [sa.cast(sa.func.sum(one), sa.BigInteger).label(one.name) for one in amounts]
    rows = connection.execute(sa.select(*columns, *sums).group_by(*columns)).mappings().all()
    connection.execute(sa.delete(reflected))
    if rows:
        connection.execute(sa.insert(reflected), [dict(row) for row in rows])
