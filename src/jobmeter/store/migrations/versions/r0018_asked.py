"""Of which question sums of days are kept, so that they can be checked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Forget the sums of days, which are made again when they are asked for, and make the table of questions anew."""
    op.execute("DELETE FROM day_sums")
    op.drop_table("day_questions")
    op.create_table(
        "day_questions",
        sa.Column("question", sa.LargeBinary(), primary_key=True),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.LargeBinary(), nullable=False),
    )
