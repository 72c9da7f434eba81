"""What was at an instant: each state of a record holds from the instant when it was written until it is replaced.

The present states are rows of `records` and of the archive, the others rows of `versions`. The states of one record
follow one another without gap, so of every record there is one state at most at any instant.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import FromClause, Select, or_, select, union_all

from jobmeter.model.record import microseconds
from jobmeter.model.version import Edit
from jobmeter.store.tables import records, versions

_COLUMNS = ("seq", "start_us", "stop_us", "site", "grp", "usr", "record_id", "body")

Now = Callable[[], int]
"""The present, in microseconds since 1970."""


def system_now() -> int:
    """The clock of this machine."""
    return time.time_ns() // 1000


def moment_of(edit: Edit, since_us: int | None, now_us: int) -> int:
    """When a change ends a state that holds since `since_us`: when it was decided, if that can be, else now."""
    earliest_us = 0 if since_us is None else since_us
    if edit.at is not None and earliest_us <= microseconds(edit.at) <= now_us:
        return microseconds(edit.at)
    return max(earliest_us, now_us)


def rows_at(as_of_us: int | None) -> FromClause:
    """The table of records; or, of an instant, what it would have held then, of what the database holds."""
    if as_of_us is None:
        return records
    still = _begun(records, as_of_us)
    since_then = _begun(versions, as_of_us).where(versions.c.until_us > as_of_us)
    return union_all(still, since_then).subquery("records_then")


def _begun(table: FromClause, as_of_us: int) -> Select[tuple[object, ...]]:
    since_us = table.c.since_us
    core = table.c.core if table is records else table.c.body.label("core")
    columns = [*[table.c[name] for name in _COLUMNS], core]
    return select(*columns).where(or_(since_us.is_(None), since_us <= as_of_us))
