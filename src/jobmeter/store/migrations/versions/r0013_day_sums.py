"""Sums of days that are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "day_marks",
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "day_questions",
        sa.Column("question", sa.LargeBinary(), primary_key=True),
        sa.Column("turn", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "day_sums",
        sa.Column("question", sa.LargeBinary(), primary_key=True),
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
