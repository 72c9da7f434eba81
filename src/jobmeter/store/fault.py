"""What can be wrong with a store before it is asked anything."""

from __future__ import annotations

from jobmeter.contract import StoreUnavailable


class DatabaseUrlFaulty(ValueError):  # noqa: N818 - what it is, not that it is an error
    """The address of the database is none that a store can be opened with; the message says what is expected."""


class SchemaUnfit(StoreUnavailable):
    """The database answers, but its schema is not the one this program knows; the message says what to do."""
