"""What moving records between database and files needs of a store: sessions, and that nobody else moves any."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import Executable

from jobmeter.contract import StoreUnavailable
from jobmeter.store.archive.archive import Archive
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.facet import Numbers, Signature


class ArchiveBusy(StoreUnavailable):
    """Another process is moving records of this database now."""


class Session(Struct, frozen=True):
    """One transaction. `execute` returns all rows, `stream` one after the other; `numbers` gives facet columns."""

    execute: Execute
    stream: Callable[[Executable], Iterator[Any]]
    numbers: Callable[[Signature], Numbers]


class Shelf(Struct, frozen=True):
    """What a mover of records works with: `view` sees one state; `change` is durable when it ends, or never was."""

    archive: Archive
    view: Callable[[], AbstractContextManager[Session]]
    change: Callable[[], AbstractContextManager[Session]]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` while the block runs. Raises ArchiveBusy at once when somebody else does."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveBusy("another process is moving records to or from the archive") from None
        yield
