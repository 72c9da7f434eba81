"""Rollups of all components of a name that have scores, whichever scores these are."""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import Connection, text

from jobmeter.store.rollup import WITH_SCORES, Kind, kind_of
from jobmeter.store.sqlite_sums import teach

revision = "0019"
down_revision = "0018"

_SUMS = {"postgresql": "sum({})", "sqlite": "exact_add(exact_sum({}), 0)"}
_ADDED = """
    INSERT INTO rollup_amounts (kind, level, month, site, grp, usr, n, amount, amount_seconds)
    SELECT {into}, level + {more}, month, site, grp, usr, sum(n), {amount}, {seconds}
    FROM rollup_amounts WHERE kind IN ({kinds}) GROUP BY level, month, site, grp, usr"""


def upgrade() -> None:
    """Add the rows."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        teach(driver)
    rows = connection.execute(text("SELECT no, value FROM rollup_kinds ORDER BY no")).all()
    numbers = {kind_of(value): no for no, value in rows}
    scored: dict[Kind, list[str]] = {}
    for kind, no in numbers.items():
        if kind.scores:
            scored.setdefault(kind.plain, []).append(str(no))
    add = _SUMS[connection.dialect.name].format
    sums = {"more": WITH_SCORES, "amount": add("amount"), "seconds": add("amount_seconds")}
    for plain, kinds in scored.items():
        into = numbers.get(plain) or _interned(connection, plain)
        connection.exec_driver_sql(_ADDED.format(into=into, kinds=", ".join(kinds), **sums))


def _interned(connection: Connection, kind: Kind) -> int:
    statement = "INSERT INTO rollup_kinds (digest, name_digest, value) VALUES (:digest, :name, :value) RETURNING no"
    values = {"digest": kind.digest, "name": kind.name_digest, "value": kind.value}
    return int(connection.execute(text(statement), values).scalar_one())
