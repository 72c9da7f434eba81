"""Sums of days that are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_DAY_US = 86_400_000_000


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
    # A day without a mark has no records, so the days of those that are there are marked.
    op.execute(
        f"INSERT INTO day_marks (day, mark) SELECT DISTINCT CASE WHEN stop_us < 0 THEN (stop_us - {_DAY_US - 1}) / "  # noqa: S608 - a constant
        f"{_DAY_US} ELSE stop_us / {_DAY_US} END, 1 FROM records WHERE stop_us IS NOT NULL"
    )
    archived = op.get_bind().execute(sa.text("SELECT first_stop_us, last_stop_us FROM archive_files"))
    days = {day for first, last in archived for day in range(first // _DAY_US, last // _DAY_US + 1)}
    mark = sa.text("INSERT INTO day_marks (day, mark) VALUES (:day, 1) ON CONFLICT (day) DO NOTHING")
    for day in sorted(days):
        op.get_bind().execute(mark, {"day": day})
