"""Records keep of their bodies what no column says; the rest is put back when they are read."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

from jobmeter.store.core import BODY_FUNCTION, BODY_SQLITE, core_in

revision = "0013"
down_revision = "0012"

_ROWS_AT_ONCE = 10_000


def upgrade() -> None:
    """Cut the bodies, and let `body` be computed."""
    op.alter_column("records", "body", new_column_name="core")
    _cut()
    connection = op.get_bind()
    computed = f"ALTER TABLE records ADD COLUMN body TEXT GENERATED ALWAYS AS ({BODY_SQLITE}) VIRTUAL"
    connection.exec_driver_sql(BODY_FUNCTION if connection.dialect.name == "postgresql" else computed)


def _cut() -> None:
    connection = op.get_bind()
    last = 0
    question = text(
        "SELECT seq, record_id, start_us, stop_us, core FROM records WHERE seq > :last ORDER BY seq LIMIT :n"
    )
    while rows := connection.execute(question, {"last": last, "n": _ROWS_AT_ONCE}).all():
        last = rows[-1][0]
        cut = [
            {"seq": seq, "core": core_in(body.encode(), key, start_us, stop_us).decode()}
            for seq, key, start_us, stop_us, body in rows
        ]
        connection.execute(text("UPDATE records SET core = :core WHERE seq = :seq"), cut)
