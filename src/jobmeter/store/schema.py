"""Which state of the schema this program works with, and what to say of any other."""

from __future__ import annotations

from jobmeter.store.fault import SchemaUnfit

KNOWN = tuple("0001 0002 0003 0004 0005 0006 0007 0008 0009 0010 0011 0012 0013 0014 0015 0016 0017 0018 0019".split())  # noqa: SIM905
"""The revisions of `migrations/versions`, oldest first; a test compares them."""

HEAD = KNOWN[-1]

VERSION_TABLE = "jobmeter_revision"
"""Not Alembic's default name: the database may be shared with another program that uses Alembic."""

ADVICE = "run `jobmeter migrate --database URL`"


def require_head(found: str | None) -> None:
    """Return when `found`, the revision that the database is at (None: it has no schema), is ours; else SchemaUnfit."""
    if found == HEAD:
        return
    if found is None:
        raise SchemaUnfit(f"the database holds no jobmeter tables: {ADVICE}")
    require_known(found)
    raise SchemaUnfit(f"the database is at revision {found}, this jobmeter needs {HEAD}: {ADVICE}")


def require_known(found: str | None) -> None:
    """Return when the revision `found` is one from which this program can work or migrate; else SchemaUnfit."""
    if found is not None and found not in KNOWN:
        raise SchemaUnfit(
            f"the database is at revision {found}, which this jobmeter does not know (it knows up to {HEAD}): "
            "it was migrated by a newer jobmeter, install that one"
        )
