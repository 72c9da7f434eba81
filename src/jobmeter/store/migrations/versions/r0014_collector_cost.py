"""What a collector's process uses of its machine, beside the state of its spool."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the columns."""
    for name in ("up_us", "cpu_us", "peak_bytes"):
        op.add_column("collectors", sa.Column(name, sa.BigInteger()))
