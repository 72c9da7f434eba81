"""Conflicts that are to be decided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BYTEWISE = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "conflicts",
        sa.Column("no", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("record_id", _BYTEWISE, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("decision", sa.Text()),
        sa.Column("who", sa.Text()),
        sa.Column("why", sa.Text()),
        sa.Column("at_us", sa.BigInteger()),
        sa.UniqueConstraint("record_id", "digest", name="conflicts_content"),
        sqlite_autoincrement=True,
    )
