"""Opens the record store that an address names."""

from __future__ import annotations

import importlib
import logging
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, cast

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.store.address import shown, sqlite_path
from jobmeter.store.archive.archive import Archive
from jobmeter.store.archive.ledger import ArchiveFile
from jobmeter.store.archive.shelf import Shelf
from jobmeter.store.fault import DatabaseUrlFaulty, SchemaUnfit
from jobmeter.store.letterbox import Bounds
from jobmeter.store.migrate import upgrade
from jobmeter.store.past import Now
from jobmeter.store.sqlite import SqliteStore


class ArchivingStore(RecordStore, Protocol):
    """A record store of which a part may lie in archive files."""

    archive: Archive
    now: Now
    """The clock of its writes."""

    def shelf(self) -> AbstractContextManager[Shelf]:
        """The right to move records between database and archive. Raises ArchiveBusy when another process has it."""
        ...

    def archived_files(self) -> list[ArchiveFile]:
        """The files that are listed. Raises StoreUnavailable."""
        ...


log = logging.getLogger("jobmeter.store")


class _PostgresqlModule(Protocol):
    def PostgresqlStore(self, url: str, *, bounds: Bounds | None) -> ArchivingStore: ...  # noqa: N802 - a class


def open_store(
    url: str, *, migrate: bool = False, bounds: Bounds | None = None, archive_folder: Path | None = None
) -> ArchivingStore:
    """The store at `sqlite:///PATH` or `postgresql://…`; with `migrate` its schema is brought up to date first.

    `bounds` are those of the dead letters, `archive_folder` is where archive files are looked for first. Raises
    DatabaseUrlFaulty for any other address, or when the driver of PostgreSQL is not installed; SchemaUnfit when the
    schema is not the present one. A PostgreSQL server that does not answer yet is no fault: the store finds it when it
    comes, and raises StoreUnavailable until then (with `migrate` it must answer now, else StoreUnavailable).
    """
    path = sqlite_path(url)
    if path is not None:
        if migrate:
            upgrade(url)
        return _with_folder(SqliteStore(path, bounds=bounds), archive_folder)
    try:
        module = cast("_PostgresqlModule", importlib.import_module("jobmeter.store.postgresql"))
    except ModuleNotFoundError as fault:
        if fault.name != "psycopg":
            raise
        raise DatabaseUrlFaulty("PostgreSQL needs the driver: pip install 'jobmeter[postgresql]'") from fault
    if migrate:
        upgrade(url)
    store = _with_folder(module.PostgresqlStore(url, bounds=bounds), archive_folder)
    try:
        store.ping()
    except SchemaUnfit:
        store.close()
        raise
    except StoreUnavailable as fault:
        log.warning("store.away database=%s reason=%r", shown(url), str(fault))
    return store


def _with_folder(store: ArchivingStore, folder: Path | None) -> ArchivingStore:
    store.archive.folder = folder
    return store
