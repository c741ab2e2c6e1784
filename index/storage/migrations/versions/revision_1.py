"""Creates the first schema: manifest, users, documents, passages, answers."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "manifest",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "users",
        sa.Column("user", sa.String, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("next_position", sa.Integer, nullable=False),
    )
    op.create_table(
        "documents",
        sa.Column("user", sa.String, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created_at", sa.String),
        sa.Column("title", sa.Text),
        sa.Column("source", sa.Text),
        sa.Column("metadata", sa.Text),
        sa.PrimaryKeyConstraint("user", "id"),
        sa.UniqueConstraint("user", "position"),
    )
    op.create_table(
        "passages",
        sa.Column("user", sa.String, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("start", sa.Integer, nullable=False),
        sa.Column("end", sa.Integer, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("user", "position", "start"),
    )
    op.create_table(
        "answers",
        sa.Column("user", sa.String, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("user", "id"),
    )
