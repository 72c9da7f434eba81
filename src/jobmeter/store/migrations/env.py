"""Alembic runs this file; the connection, in a transaction already, comes from `jobmeter.store.migrate`."""

from __future__ import annotations

from alembic import context

from jobmeter.store.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
