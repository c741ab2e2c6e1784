"""The tables of a store. Every row of a user carries the user's name in its key.

A change here is a new revision in migrations/.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

tables = MetaData()

manifest = Table(
    "manifest", tables, Column("key", String, primary_key=True), Column("value", Text, nullable=False)
)
"""What the store was made with: the encoder, and the version of this schema."""

users = Table(
    "users",
    tables,
    Column("user", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
    # Positions are never used again, so that documents keep their order whatever is deleted.
    Column("next_position", Integer, nullable=False),
)
"""`version` grows with every change to the person's documents; caches are keyed by it."""

documents = Table(
    "documents",
    tables,
    Column("user", String, nullable=False),
    Column("id", String, nullable=False),
    Column("position", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", String),
    Column("title", Text),
    Column("source", Text),
    Column("metadata", Text),
    PrimaryKeyConstraint("user", "id"),
    UniqueConstraint("user", "position"),
)

passages = Table(
    "passages",
    tables,
    Column("user", String, nullable=False),
    Column("position", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    PrimaryKeyConstraint("user", "position", "start"),
)
"""The parts of each document that were encoded, with their float16 vectors."""

answers = Table(
    "answers",
    tables,
    Column("user", String, nullable=False),
    Column("id", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("user", "id"),
)

PER_USER = (documents, passages, answers, users)
"""Every table with rows of users, by its column `user`. An erasure deletes from all of them."""
