"""Summaries of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "job_summaries",
        sa.Column("manager", sa.Text(), primary_key=True),
        sa.Column("cluster", sa.Text(), primary_key=True),
        sa.Column("job", sa.Text(), primary_key=True),
        sa.Column("run", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("record_id", sa.Text()),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_job_summaries_record_id", "job_summaries", ["record_id"])
