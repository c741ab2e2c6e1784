"""Documents have the version that wrote them and what rankings read in them, and deletions are recorded."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"

PARTITIONS = 16
NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("documents", sa.Column("version", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("documents", sa.Column("reading", sa.LargeBinary))
    op.create_index("documents_by_version", "documents", ["tenant", "user", "version"])
    op.create_table(
        "deletions",
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("user", NAME, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "user", "version"),
        postgresql_partition_by='HASH (tenant, "user")',
    )
    if op.get_bind().dialect.name == "postgresql":
        for number in range(PARTITIONS):
            op.execute(
                f"CREATE TABLE deletions_{number} PARTITION OF deletions "
                f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
            )
