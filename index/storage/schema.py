"""The tables of a store. Every row of a user has the user's name in its key.

A change here needs a new revision in migrations/.
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
"""The encoder that made the vectors, those of further spaces, and the schema's revision."""

users = Table(
    "users",
    tables,
    Column("user", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
    # Positions are never reused, so deletions do not change the order of documents.
    Column("next_position", Integer, nullable=False),
)
"""`version` grows with every change to the user's documents; caches are keyed by it."""

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
"""The encoded parts of each document, with their float16 vectors."""

space_vectors = Table(
    "space_vectors",
    tables,
    Column("user", String, nullable=False),
    Column("position", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("space", String, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    PrimaryKeyConstraint("user", "position", "start", "space"),
)
"""The float16 vectors of the same passages in further embedding spaces, by the space's name."""

answers = Table(
    "answers",
    tables,
    Column("user", String, nullable=False),
    Column("id", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("user", "id"),
)

PER_USER = (documents, passages, space_vectors, answers, users)
"""All tables with a column `user`. An erasure deletes the user's rows from each."""
