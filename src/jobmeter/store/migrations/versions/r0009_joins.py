"""Summaries by job and beginning, with what became of them; and which records are of which jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BYTEWISE = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_JOB = ("job", "manager", "cluster")


def upgrade() -> None:
    """Make the tables. Summaries of before no release has ever stored."""
    op.drop_table("job_summaries")
    op.create_table(
        "job_summaries",
        sa.Column("no", _NUMBER, sa.Identity(), primary_key=True),
        *(sa.Column(name, _BYTEWISE, nullable=False) for name in _JOB),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("first_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_ns", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("record_id", _BYTEWISE),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint(*_JOB, "run", "first_ns", name="job_summaries_job"),
        sqlite_autoincrement=True,
    )
    op.create_index("job_summaries_record", "job_summaries", ["record_id"])
    op.create_index("job_summaries_state", "job_summaries", ["state", "no"])
    op.create_table(
        "record_jobs",
        *(sa.Column(name, _BYTEWISE, primary_key=True) for name in _JOB),
        sa.Column("record_id", _BYTEWISE, primary_key=True),
        sa.Column("ended_us", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
