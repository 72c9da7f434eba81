"""What collectors report: the state of each spool, and counts per source and day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "collectors",
        sa.Column("source", sa.Text(), primary_key=True),
        sa.Column("spool", sa.Text(), primary_key=True),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text()),
        sa.Column("waiting", sa.BigInteger(), nullable=False),
        sa.Column("letters", sa.BigInteger(), nullable=False),
        sa.Column("oldest_seconds", sa.BigInteger()),
        sa.Column("reported_us", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "collected_days",
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("source", sa.Text(), primary_key=True),
        sa.Column("spool", sa.Text(), primary_key=True),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("records", "again", "refused", "ignored", "delivered", "rejected", "dropped")
        ),
    )
