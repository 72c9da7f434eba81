"""What the record store does in a second, beside what the machine's database does with the same bytes.

    python -m bench.store --records 1000000                                  # SQLite in a temporary folder
    python -m bench.store --records 1000000 --database postgresql://…        # an EMPTY database, filled by this

Every row is measured through `open_store`, single-threaded; making the records is not counted, turning them into JSON
is. A latency is the median of 20 asks in a warm cache.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from bench.records import FIRST_STOP, records, site_name
from jobmeter.contract import RecordStore
from jobmeter.model.outcome import Stored
from jobmeter.model.question import Bound, MetaCondition, Op, Question, Scope
from jobmeter.model.record import Record, microseconds
from jobmeter.query.totals import parse_totals
from jobmeter.store.address import sqlite_path
from jobmeter.store.open import open_store
from jobmeter.wire.auditor import encode_record

ALL = Scope.everything()

TOTALS = {
    "site x month: count, runtime": "group_by=site_id,month&sum=count,runtime",
    "site x month: Cores*runtime": "group_by=site_id,month&sum=Cores*runtime",
    "site x month: Cores*runtime*HEPSPEC23": "group_by=site_id,month&sum=Cores*runtime*HEPSPEC23",
}
SLOW_TOTALS = {
    "site x day: count, runtime": "group_by=site_id,day&sum=count,runtime",
    "voms x month: Cores*runtime": "group_by=voms,month&sum=Cores*runtime",
}

BATCH = 1000
ASKS = 20
LIMIT_RECORDS = 200_000
"""How many records the plain comparisons take at most; their rate does not depend on it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one line a row."""
    parser = argparse.ArgumentParser(prog="bench.store", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000, metavar="N")
    parser.add_argument("--database", metavar="URL", help="default: SQLite in a temporary folder")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="jobmeter-bench-") as folder:
        url = arguments.database or f"sqlite:///{folder}/store.sqlite"
        store = open_store(url, migrate=True)
        try:
            if store.counts()[""]:
                print("the database is not empty", file=sys.stderr)
                return 2
            measure(store, url, arguments.records)
        finally:
            store.close()
        limits(url, min(arguments.records, LIMIT_RECORDS), Path(folder))
    return 0


def measure(store: RecordStore, url: str, count: int) -> None:
    """Fill `store` with `count` records and ask it."""
    path = sqlite_path(url)
    print(f"{'SQLite' if path else 'PostgreSQL'}, {count:,} records")
    _row("ingest, batches of 1000, durable", _ingest(store, records(count), BATCH), "records/s")
    start = time.perf_counter()
    while store.fold():
        pass
    _row("folded into rollups, after the ingest", count / (time.perf_counter() - start), "records/s")
    singles = min(count, 20_000)
    _row("ingest, batches of 64, durable", _ingest(store, _renamed(islice(records(count), singles)), 64), "records/s")
    repeats = _ingest(store, islice(records(count), singles), BATCH, Stored.SAME)
    _row("the same again: all are repeats", repeats, "records/s")
    body_bytes = sum(len(encode_record(record)) for record in records(1000)) / min(count, 1000)
    _settle(url)
    _row("mean body", body_bytes, "bytes")
    _row("stored, with indices", _size_bytes(url) / (count + singles), "bytes/record")
    start = time.perf_counter()
    lines = sum(chunk.count(b"\n") for chunk in store.stream(Question(ALL)))
    _row("stream all, by stop time", lines / (time.perf_counter() - start), "records/s")
    middle = f"slurm-{site_name(3)}-"
    known = next(record.record_id for record in records(count) if record.record_id.startswith(middle))
    _ask("one by id", lambda: store.one(known, ALL))
    low, high = (microseconds(FIRST_STOP + timedelta(days=days)) for days in (90, 120))
    month = (Bound(Op.GTE, low), Bound(Op.LT, high))
    conditions: dict[str, dict[str, Any]] = {
        "site": {"meta": (MetaCondition("site_id", (site_name(7),)),)},
        "user": {"meta": (MetaCondition("user_id", ("user0042",)),)},
        "absent value": {"meta": (MetaCondition("site_id", ("nowhere",)),)},
        "key that is no facet": {"meta": (MetaCondition("submit_host", ("ce1.site.example.org",)),)},
    }
    for name, condition in conditions.items():
        _ask_page(f"first 100: {name} + stop range", store, Question(ALL, stop_time=month, limit=100, **condition))
    _ask_page("first 100: user, all time", store, Question(ALL, limit=100, **conditions["user"]))
    while store.fold():
        pass
    _ask("count by site", lambda: store.counts("site"))
    for name, query in TOTALS.items():
        question = parse_totals(query, ALL)
        _ask(f"total {name}", lambda question=question: store.totals(question))  # type: ignore[misc]
    for name, query in SLOW_TOTALS.items():
        question = parse_totals(query, ALL)
        _ask(f"from records: {name}", lambda question=question: store.totals(question), asks=1)  # type: ignore[misc]


def _ingest(store: RecordStore, given: Iterator[Record], size: int, expected: Stored = Stored.NEW) -> float:
    """Records per second of `put` alone."""
    count, seconds = 0, 0.0
    for batch in _batches(given, size):
        start = time.perf_counter()
        answers = store.put(batch)
        seconds += time.perf_counter() - start
        count += len(batch)
        if answers != [expected] * len(batch):
            raise RuntimeError(f"not all records were {expected.value}")
    return count / seconds


def limits(url: str, count: int, folder: Path) -> None:
    """What the same database does with the same bytes in a table of one column."""
    bodies = [encode_record(record) for record in records(count)]
    print(f"The machine's limit, {count:,} bodies in a table of one column")
    if sqlite_path(url) is not None:
        _sqlite_limits(bodies, folder / "limit.sqlite")
    else:
        _postgresql_limits(bodies, url)


def _sqlite_limits(bodies: list[bytes], path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in ("page_size=8192", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {setting}")
    connection.execute("CREATE TABLE plain (body TEXT NOT NULL)")
    texts = [(body.decode(),) for body in bodies]
    start = time.perf_counter()
    for batch in _batches(iter(texts), BATCH):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO plain VALUES (?)", batch)
        connection.execute("COMMIT")
    _row("plain executemany, batches of 1000", len(bodies) / (time.perf_counter() - start), "records/s")
    connection.text_factory = bytes
    start = time.perf_counter()
    found = sum(1 for _ in connection.execute("SELECT body FROM plain"))
    _row("plain SELECT", found / (time.perf_counter() - start), "records/s")
    connection.close()


def _postgresql_limits(bodies: list[bytes], url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE quick (body text NOT NULL)")
        cursor.execute("CREATE TABLE bench_plain (body text NOT NULL)")
        try:
            form = "(FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')"
            start = time.perf_counter()
            for batch in _batches(iter(bodies), BATCH):
                with cursor.copy(f"COPY bench_plain FROM STDIN {form}") as copy:
                    copy.write(b"\n".join([*batch, b""]))
            _row("plain COPY, batches of 1000", len(bodies) / (time.perf_counter() - start), "records/s")
            start = time.perf_counter()
            with cursor.copy(f"COPY bench_plain TO STDOUT {form}") as copy:
                found = sum(1 for _ in copy)
            _row("plain COPY out", found / (time.perf_counter() - start), "records/s")
            start = time.perf_counter()
            found = len(cursor.execute("SELECT body FROM bench_plain").fetchall())
            _row("plain SELECT", found / (time.perf_counter() - start), "records/s")
        finally:
            cursor.execute("DROP TABLE bench_plain")


def _settle(url: str) -> None:
    """What the database does by itself within a minute."""
    path = sqlite_path(url)
    if path is not None:
        lite = sqlite3.connect(path)
        lite.execute("PRAGMA wal_checkpoint(PASSIVE)")
        lite.close()
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE records")


def _size_bytes(url: str) -> int:
    path = sqlite_path(url)
    if path is not None:
        return path.stat().st_size
    tables = ("records", "facets", "facet_terms", "rollups", "rollup_kinds", "rollup_amounts", "rollup_pending")
    with psycopg.connect(url) as connection:
        return sum(
            connection.execute("SELECT pg_total_relation_size(%s::regclass)", (table,)).fetchone()[0]  # type: ignore[index]
            for table in tables
        )


def _renamed(given: Iterator[Record]) -> Iterator[Record]:
    for record in given:
        yield Record(f"again-{record.record_id}", record.components, record.start_time, record.meta, record.stop_time)


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(islice(items, size)):
        yield batch


def _ask(name: str, ask: Callable[[], object], *, asks: int = ASKS) -> None:
    times = []
    for _ in range(asks):
        start = time.perf_counter()
        ask()
        times.append(time.perf_counter() - start)
    _row(name, statistics.median(times) * 1000, "ms")


def _ask_page(name: str, store: RecordStore, question: Question) -> None:
    _ask(name, lambda: list(store.stream(question)))


def _row(name: str, value: float, unit: str) -> None:
    print(f"  {name:<42}{value:>12,.{0 if value >= 1000 else 2}f} {unit}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
