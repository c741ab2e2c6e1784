"""Alembic's environment script: applies revisions on the connection that the store passes in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
