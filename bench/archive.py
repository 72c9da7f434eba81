"""What half an archive costs and gives: size, rates, and how long questions take that reach into it.

    python -m bench.archive --records 1000000                             # SQLite in a temporary folder
    python -m bench.archive --records 1000000 --database postgresql://…   # an EMPTY database, filled by this

A database that `bench.store` has filled with as many records is taken as it is; with `--folder` the archive stays, and
a second run on both only asks. A year of records is stored and its first half archived. A latency is the median of 20
asks in a warm cache.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from bench.records import FIRST_STOP, replicated, site_name
from jobmeter.model.outcome import Stored
from jobmeter.model.question import Bound, MetaCondition, Op, Order, Question, Scope
from jobmeter.model.record import Record, microseconds
from jobmeter.model.total import COUNT, Factor, MetaDimension, Product, Span, TimeDimension, TimeUnit, TotalQuestion
from jobmeter.store.archive import ledger
from jobmeter.store.archive.moving import Plan, archive_old
from jobmeter.store.archive.verifying import fault_of
from jobmeter.store.open import ArchivingStore, open_store

ALL = Scope.everything()
BATCH = 1000
ASKS = 20
PAGE_BYTES = 8 * 2**20
NOW = datetime(2025, 8, 1, tzinfo=UTC)
"""With one month kept, January to June are archived."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one line a row."""
    parser = argparse.ArgumentParser(prog="bench.archive", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000, metavar="N")
    parser.add_argument("--database", metavar="URL", help="default: SQLite in a temporary folder")
    parser.add_argument("--folder", type=Path, metavar="PATH", help="of the archive; default: a temporary one")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="jobmeter-bench-") as folder:
        store = open_store(arguments.database or f"sqlite:///{folder}/store.sqlite", migrate=True)
        try:
            held = store.counts()[""]
            if 0 < held < arguments.records:
                print(f"the database holds {held:,} records", file=sys.stderr)
                return 2
            print(f"{arguments.records:,} records, half of them archived")
            if not held:
                for batch in _batches(replicated(arguments.records)):
                    store.put(batch)
                while store.fold():
                    pass
            if not store.archived_files():
                measure(store, arguments.records, arguments.folder or Path(folder) / "archive")
            _questions(store, arguments.records)
        finally:
            store.close()
    return 0


def measure(store: ArchivingStore, count: int, folder: Path) -> None:
    """Archive half of the `count` records, and store some before and after."""
    new = min(count, 50_000)
    _row(
        "ingest of new ids, before archiving",
        _rate(store, islice(_renamed(replicated(count), "before"), new), Stored.NEW),
        "records/s",
    )
    _archive(store, folder)
    again = islice(_renamed(replicated(count), "after"), new)
    _row("ingest of new ids, half is archived", _rate(store, again, Stored.NEW), "records/s")
    while store.fold():
        pass
    _row("archived records sent again", _rate(store, islice(replicated(count), new), Stored.SAME), "records/s")
    start = time.perf_counter()
    faults = [fault_of(store.archive, file) for file in store.archived_files()]
    seconds = time.perf_counter() - start
    if any(faults):
        raise RuntimeError(f"a file is not sound: {faults}")
    _row("verify", sum(file.records for file in store.archived_files()) / seconds, "records/s")


def _archive(store: ArchivingStore, folder: Path) -> None:
    start, began = time.perf_counter(), time.process_time()
    with store.shelf() as shelf:
        moved = list(archive_old(shelf, Plan(folder, 1), NOW))
        with shelf.view() as session:
            ids = sum(len(packed) for _, packed in ledger.ids_since(session.execute, 0))
    total = sum(one.records for one in moved)
    spent = (time.process_time() - began) / total
    _row("archive", total / (time.perf_counter() - start), "records/s", spent)
    while store.fold():
        pass
    files = sum(one.size_bytes for one in moved) / total
    _row("archived, in files", files, "bytes/record")
    _row("archived, ids in the database", ids / total, "bytes/record")
    _row("archived, both", files + ids / total, "bytes/record")


def _questions(store: ArchivingStore, count: int) -> None:
    middle = f"slurm-{site_name(3)}-"
    old = next(one.record_id for one in islice(replicated(count), count // 4, None) if one.record_id.startswith(middle))
    young = next(one.record_id for one in islice(replicated(count), 3 * count // 4, None))
    _ask("one by id, archived", lambda: store.one(old, ALL))
    _ask("one by id, in the database", lambda: store.one(young, ALL))
    _ask("one by id, nowhere", lambda: store.one("nobody", ALL))
    site = (MetaCondition("site_id", (site_name(7),)),)
    pages: dict[str, dict[str, Any]] = {
        "oldest": {},
        "newest": {"order": Order(descending=True)},
        "newest archived": {"order": Order(descending=True), "stop_time": _days(150, 170)},
        "site + month, archived": {"meta": site, "stop_time": _days(90, 120)},
        "site + month, in the database": {"meta": site, "stop_time": _days(240, 270)},
        "site, all time": {"meta": site},
        "user, all time": {"meta": (MetaCondition("user_id", ("user0042",)),)},
        "user of few jobs, all time": {"meta": (MetaCondition("user_id", ("user1999",)),)},
        "absent user, all time": {"meta": (MetaCondition("user_id", ("nobody",)),)},
        "site across the border": {"meta": site, "stop_time": _days(176, 200)},
    }
    for name, conditions in pages.items():
        _ask_page(f"first 100: {name}", store, Question(ALL, limit=100, **conditions))
    by_month = (MetaDimension("site_id"), TimeDimension(TimeUnit.MONTH))
    measures = (COUNT, Product((Factor("Cores"),), Span.RUNTIME))
    _ask("total site x month", lambda: store.totals(TotalQuestion(Question(ALL), by_month, measures)), asks=3)
    start = time.perf_counter()
    lines = sum(chunk.count(b"\n") for chunk in store.stream(Question(ALL)))
    _row("stream all, by stop time", lines / (time.perf_counter() - start), "records/s")


def _days(first: int, last: int) -> tuple[Bound, Bound]:
    low, high = (microseconds(FIRST_STOP + timedelta(days=days)) for days in (first, last))
    return Bound(Op.GTE, low), Bound(Op.LT, high)


def _renamed(given: Iterator[Record], prefix: str) -> Iterator[Record]:
    for one in given:
        stop = one.stop_time and one.stop_time + timedelta(days=200)
        yield Record(f"{prefix}-{one.record_id}", one.components, one.start_time, one.meta, stop)


def _rate(store: ArchivingStore, given: Iterator[Record], expected: Stored) -> float:
    count, seconds = 0, 0.0
    for batch in _batches(given):
        start = time.perf_counter()
        answers = store.put(batch)
        seconds += time.perf_counter() - start
        count += len(batch)
        if answers != [expected] * len(batch):
            raise RuntimeError(f"not all records were {expected.value}")
    return count / seconds


def _batches(items: Iterator[Record]) -> Iterator[list[Record]]:
    while batch := list(islice(items, BATCH)):
        yield batch


def _ask(name: str, ask: Callable[[], object], *, asks: int = ASKS) -> None:
    ask()
    times = []
    for _ in range(asks):
        start = time.perf_counter()
        ask()
        times.append(time.perf_counter() - start)
    _row(name, statistics.median(times) * 1000, "ms")


def _ask_page(name: str, store: ArchivingStore, question: Question) -> None:
    _ask(name, lambda: store.page(question, PAGE_BYTES))


def _row(name: str, value: float, unit: str, spent_seconds: float | None = None) -> None:
    processor = "" if spent_seconds is None else f"   processor {spent_seconds * 1e6:.1f} us each"
    print(f"  {name:<42}{value:>12,.{0 if value >= 1000 else 2}f} {unit}{processor}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
