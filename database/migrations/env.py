"""Alembic's entry: runs on the connection and in the transaction that `database.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from database.upgrade import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("Migrations run through `freshtrack db upgrade`, which takes the lock first.")

context.configure(connection=connection, target_metadata=metadata(), compare_type=True)
context.run_migrations()
