"""Facility documents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "documents",
        sa.Column("seq", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("observed_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("node", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("state", sa.Text()),
        sa.Column("identity", sa.LargeBinary()),
        sa.Column("body", sa.Text(), nullable=False),
        sa.UniqueConstraint("identity", name="documents_identity"),
        sqlite_autoincrement=True,
    )
    op.create_index("documents_kind", "documents", ["kind", "observed_us", "cluster"])
    op.create_index("documents_received", "documents", ["received_us"])
    op.create_table(
        "document_users",
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("cluster", sa.Text(), primary_key=True),
        sa.Column("access", sa.Text(), primary_key=True),
        sa.Column("usr", sa.Text(), primary_key=True),
        sqlite_with_rowid=False,
    )
