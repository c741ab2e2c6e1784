"""Keys begin with the tenant, documents have digests, and PostgreSQL partitions the tables by user."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from index.storage.digests import digest

revision = "3"
down_revision = "2"

PARTITIONS = 16
NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_AT_ONCE = 500


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.alter_column("manifest", "key", type_=NAME)
    _replace("users", sa.Column("version", sa.BigInteger, nullable=False), _integer("next_position"))
    _replace(
        "documents",
        sa.Column("id", NAME, nullable=False),
        _integer("position"),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created_at", sa.String),
        sa.Column("title", sa.Text),
        sa.Column("source", sa.Text),
        sa.Column("metadata", sa.Text),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        key=["id"],
        unique=["position"],
    )
    _replace(
        "passages",
        _integer("position"),
        _integer("start"),
        _integer("end"),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        key=["position", "start"],
    )
    _replace(
        "space_vectors",
        _integer("position"),
        _integer("start"),
        sa.Column("space", NAME, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        key=["position", "start", "space"],
    )
    _replace(
        "answers",
        sa.Column("id", NAME, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        key=["id"],
    )


def _integer(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer, nullable=False)


def _replace(
    name: str, *columns: "sa.Column[Any]", key: list[str] | None = None, unique: list[str] | None = None
) -> None:
    """Make the table with the tenant in its key, and move the rows into it."""
    connection = op.get_bind()
    former = f"{name}_before_{revision}"
    op.rename_table(name, former)
    constraints: list[sa.schema.SchemaItem] = [sa.PrimaryKeyConstraint("tenant", "user", *(key or []))]
    if unique:
        constraints.append(sa.UniqueConstraint("tenant", "user", *unique))
    new = op.create_table(
        name,
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("user", NAME, nullable=False),
        *columns,
        *constraints,
        postgresql_partition_by='HASH (tenant, "user")',
    )
    if connection.dialect.name == "postgresql":
        for number in range(PARTITIONS):
            op.execute(
                f"CREATE TABLE {name}_{number} PARTITION OF {name} "
                f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
            )
    old = sa.Table(former, sa.MetaData(), autoload_with=connection)
    if "digest" in new.c:
        for rows in _with_digests(connection, old):
            connection.execute(sa.insert(new), rows)
    else:
        kept = [column.name for column in columns]
        query = sa.select(sa.literal(""), old.c.user, *(old.c[column] for column in kept))
        connection.execute(sa.insert(new).from_select(["tenant", "user", *kept], query))
    op.drop_table(former)


def _with_digests(connection: sa.Connection, documents: sa.Table) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of the documents, some at a time. The passages are in their former table still."""
    passages = sa.Table("passages", sa.MetaData(), autoload_with=connection)
    query = sa.select(documents).order_by(documents.c.user, documents.c.position)
    for some in connection.execute(query.execution_options(yield_per=_AT_ONCE)).partitions():
        rows = []
        for user, group in groupby(some, lambda row: row.user):
            own = list(group)
            parts: dict[int, list[tuple[int, int, bytes]]] = {}
            found = sa.select(passages).where(
                passages.c.user == user,
                passages.c.position.between(own[0].position, own[-1].position),
            )
            for part in connection.execute(found):
                parts.setdefault(part.position, []).append((part.start, part.end, part.vector))
            for document in own:
                row = dict(document._mapping)
                made = digest(row, parts.get(document.position, ()))
                rows.append({"tenant": "", **row, "digest": made})
        yield rows
