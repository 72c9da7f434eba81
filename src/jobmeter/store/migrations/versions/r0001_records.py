"""Records, their facets, dead letters, counters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BYTEWISE = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "records",
        sa.Column("seq", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("stop_us", sa.BigInteger()),
        sa.Column("site", sa.Integer()),
        sa.Column("grp", sa.Integer()),
        sa.Column("usr", sa.Integer()),
        sa.Column("record_id", _BYTEWISE, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.UniqueConstraint("record_id", name="records_record_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("records_stop", "records", ["stop_us", "site", "grp", "usr", "start_us"])
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("records_usr", "records", ["usr"])
    op.create_table(
        "facets",
        sa.Column("no", sa.Integer(), sa.Identity(), primary_key=True),
        sa.Column("facet", sa.SmallInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.UniqueConstraint("digest", name="facets_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "facet_terms",
        sa.Column("term", sa.LargeBinary(), primary_key=True),
        sa.Column("no", sa.Integer(), primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dead_letters",
        sa.Column("no", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
