"""Opens the record store that an address names."""

from __future__ import annotations

import importlib
import logging
from typing import Protocol, cast

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.store.address import shown, sqlite_path
from jobmeter.store.fault import DatabaseUrlFaulty, SchemaUnfit
from jobmeter.store.letterbox import Bounds
from jobmeter.store.migrate import upgrade
from jobmeter.store.sqlite import SqliteStore

log = logging.getLogger("jobmeter.store")


class _PostgresqlModule(Protocol):
    def PostgresqlStore(self, url: str, *, bounds: Bounds | None) -> RecordStore: ...  # noqa: N802 - a class


def open_store(url: str, *, migrate: bool = False, bounds: Bounds | None = None) -> RecordStore:
    """The store at `sqlite:///PATH` or `postgresql://…`; with `migrate` its schema is brought up to date first.

    `bounds` are those of the dead letters. Raises DatabaseUrlFaulty for any other address, or when the driver of
    PostgreSQL is not installed; SchemaUnfit when the schema is not the present one. A PostgreSQL server that does not
    answer yet is no fault: the store finds it when it comes, and raises StoreUnavailable until then (with `migrate`
    it must answer now, else StoreUnavailable).
    """
    path = sqlite_path(url)
    if path is not None:
        if migrate:
            upgrade(url)
        return SqliteStore(path, bounds=bounds)
    try:
        module = cast("_PostgresqlModule", importlib.import_module("jobmeter.store.postgresql"))
    except ModuleNotFoundError as fault:
        if fault.name != "psycopg":
            raise
        raise DatabaseUrlFaulty("PostgreSQL needs the driver: pip install 'jobmeter[postgresql]'") from fault
    if migrate:
        upgrade(url)
    store = module.PostgresqlStore(url, bounds=bounds)
    try:
        store.ping()
    except SchemaUnfit:
        store.close()
        raise
    except StoreUnavailable as fault:
        log.warning("store.away database=%s reason=%r", shown(url), str(fault))
    return store
