"""Rollups of the records; all that are there are pending."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WHOLE = sa.Numeric().with_variant(sa.LargeBinary(), "sqlite")
_KEY = ("month", "site", "grp", "usr")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "rollups",
        *_key("level", *_KEY),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("seconds", _WHOLE, nullable=False),
        sa.Column("micros", _WHOLE, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_kinds",
        sa.Column("no", sa.Integer(), sa.Identity(), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("name_digest", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.UniqueConstraint("digest", name="rollup_kinds_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("rollup_kinds_name", "rollup_kinds", ["name_digest"])
    op.create_table(
        "rollup_amounts",
        *_key("kind", "level", *_KEY),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("amount", _WHOLE, nullable=False),
        sa.Column("amount_seconds", _WHOLE, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_pending",
        sa.Column("no", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("low", sa.BigInteger(), nullable=False),
        sa.Column("high", sa.BigInteger(), nullable=False),
        sa.Column("seqs", postgresql.ARRAY(sa.BigInteger()).with_variant(sa.Text(), "sqlite")),
        sqlite_autoincrement=True,
    )
    listed = ", array_agg(seq)" if op.get_bind().dialect.name == "postgresql" else ", NULL"
    op.execute(
        f"INSERT INTO rollup_pending (low, high, seqs) SELECT min(seq), max(seq){listed} FROM records "  # noqa: S608
        "GROUP BY seq / 10000"
    )
    op.execute("INSERT INTO counters (name, value) VALUES ('record_changes', 0)")


def _key(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), primary_key=True, autoincrement=False) for name in names]
