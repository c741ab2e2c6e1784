"""The tables of a store. Every row of a user has the tenant's and the user's name in its key.

A change here needs a new revision in migrations/.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
)

TENANT = ""
"""The only tenant."""
NAME = String().with_variant(String(collation="C"), "postgresql")
"""Names compare by their code points, as in SQLite, and not by rules of a language that may change."""
PARTITIONS: dict[str, Any] = {"postgresql_partition_by": 'HASH (tenant, "user")'}
"""PostgreSQL keeps a user's rows of a table in one of the partitions that revision 3 makes."""

tables = MetaData()

manifest = Table(
    "manifest", tables, Column("key", NAME, primary_key=True), Column("value", Text, nullable=False)
)
"""The encoder that made the vectors, those of further spaces, and the schema's revision."""

users = Table(
    "users",
    tables,
    Column("tenant", NAME, nullable=False),
    Column("user", NAME, nullable=False),
    Column("version", BigInteger, nullable=False),
    # Positions are never reused, so deletions do not change the order of documents.
    Column("next_position", Integer, nullable=False),
    PrimaryKeyConstraint("tenant", "user"),
    **PARTITIONS,
)
"""`version` grows with every change to the user's documents; caches are keyed by it."""

documents = Table(
    "documents",
    tables,
    Column("tenant", NAME, nullable=False),
    Column("user", NAME, nullable=False),
    Column("id", NAME, nullable=False),
    Column("position", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", String),
    Column("title", Text),
    Column("source", Text),
    Column("metadata", Text),
    # Of the document and its passages; see digests.py.
    Column("digest", LargeBinary, nullable=False),
    # Of the profile, when the document was last put; 0 if that was before revision 4.
    Column("version", BigInteger, nullable=False, server_default="0"),
    # See index.ranking.reading: a cache, which may be missing.
    Column("reading", LargeBinary),
    PrimaryKeyConstraint("tenant", "user", "id"),
    UniqueConstraint("tenant", "user", "position"),
    Index("documents_by_version", "tenant", "user", "version"),
    **PARTITIONS,
)

deletions = Table(
    "deletions",
    tables,
    Column("tenant", NAME, nullable=False),
    Column("user", NAME, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    PrimaryKeyConstraint("tenant", "user", "version"),
    **PARTITIONS,
)
"""Positions of the documents that were deleted last, with the version that the deletion made."""

passages = Table(
    "passages",
    tables,
    Column("tenant", NAME, nullable=False),
    Column("user", NAME, nullable=False),
    Column("position", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "user", "position", "start"),
    **PARTITIONS,
)
"""The encoded parts of each document, with their float16 vectors."""

space_vectors = Table(
    "space_vectors",
    tables,
    Column("tenant", NAME, nullable=False),
    Column("user", NAME, nullable=False),
    Column("position", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("space", NAME, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "user", "position", "start", "space"),
    **PARTITIONS,
)
"""The float16 vectors of the same passages in further embedding spaces, by the space's name."""

answers = Table(
    "answers",
    tables,
    Column("tenant", NAME, nullable=False),
    Column("user", NAME, nullable=False),
    Column("id", NAME, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "user", "id"),
    **PARTITIONS,
)

PER_USER = (documents, deletions, passages, space_vectors, answers, users)
"""All tables with a column `user`. An erasure deletes the user's rows from each."""


def owned(table: Table, user: str | BindParameter[str]) -> ColumnElement[bool]:
    """The condition that a row of the table is the user's."""
    return and_(table.c.tenant == TENANT, table.c.user == user)


def owner(user: str) -> dict[str, str]:
    """The key columns of a row of the user."""
    return {"tenant": TENANT, "user": user}
