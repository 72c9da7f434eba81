"""Versions of changed records, and the ids of withdrawn ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BYTEWISE = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "versions",
        sa.Column("no", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("record_id", _BYTEWISE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger()),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("next_digest", sa.LargeBinary(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("versions_record_id", "versions", ["record_id", "no"])
    op.create_table(
        "withdrawn",
        sa.Column("record_id", _BYTEWISE, primary_key=True),
        sa.Column("body", sa.Text(), nullable=False),
    )
