"""Runs the steps on the connection that `migrations` has locked.

Steps name their constraints in full and know nothing of today's tables: they stay what they were.
"""

from alembic import context

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("run through migrations.upgrade(url), which takes the lock")
context.configure(connection=connection, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
