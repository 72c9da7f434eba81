"""Since when each state of a record holds, and until when each version did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the columns. Of what is stored already nobody knows since when it is there."""
    op.add_column("records", sa.Column("since_us", sa.BigInteger()))
    for name in ("seq", "since_us", "until_us", "start_us", "stop_us"):
        op.add_column("versions", sa.Column(name, sa.BigInteger()))
    for name in ("site", "grp", "usr"):
        op.add_column("versions", sa.Column(name, sa.Integer()))
    op.create_index("versions_until", "versions", ["until_us"])
