"""What the record store does in a second, beside what the machine's database does with the same bytes.

    python -m bench.store --records 1000000                                  # SQLite in a temporary folder
    python -m bench.store --records 1000000 --database postgresql://…        # an EMPTY database, filled by this

A database that holds what this would have put there is asked again without being filled.

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

from bench.records import FIRST_STOP, records, replicated, site_name
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

SLOW_RECORDS_MAX = 1_000_000
"""With more records these are not asked for: their time is that of reading all records."""

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
            held, whole = store.counts()[""], arguments.records + singles(arguments.records)
            if held not in (0, whole):
                print(f"the database holds {held:,} records, neither none nor {whole:,}", file=sys.stderr)
                return 2
            print(f"{'SQLite' if sqlite_path(url) else 'PostgreSQL'}, {arguments.records:,} records")
            if not held:
                fill(store, url, arguments.records)
            ask(store, arguments.records)
        finally:
            store.close()
        if not held:
            limits(url, min(arguments.records, LIMIT_RECORDS), Path(folder))
    return 0


def singles(count: int) -> int:
    """How many records are stored beside those, in small batches."""
    return min(count, 20_000)


def fill(store: RecordStore, url: str, count: int) -> None:
    """Fill `store` with `count` records and a few more."""
    row("ingest, batches of 1000, durable", *_ingest(store, replicated(count), BATCH))
    start, began = time.perf_counter(), time.process_time()
    while store.fold():
        pass
    spent = (time.process_time() - began) / count
    row("folded into rollups, after the ingest", count / (time.perf_counter() - start), "records/s", spent)
    few = singles(count)
    row("ingest, batches of 64, durable", *_ingest(store, renamed(islice(replicated(count), few)), 64))
    while store.fold():
        pass
    row("the same again: all are repeats", *_ingest(store, islice(replicated(count), few), BATCH, Stored.SAME))
    body_bytes = sum(len(encode_record(record)) for record in records(1000)) / min(count, 1000)
    settle(url)
    row("mean body", body_bytes, "bytes")
    row("stored, with indices", _size_bytes(url) / (count + few), "bytes/record")
    for name, size in sorted(_parts(url).items(), key=lambda part: -part[1]):
        if size > 0.005 * _size_bytes(url):
            row(f"  of these {name}", size / (count + few), "bytes/record")


def ask(store: RecordStore, count: int) -> None:
    """Ask a filled store."""
    start, began = time.perf_counter(), time.process_time()
    lines = sum(chunk.count(b"\n") for chunk in store.stream(Question(ALL)))
    spent = (time.process_time() - began) / lines
    row("stream all, by stop time", lines / (time.perf_counter() - start), "records/s", spent)
    middle = f"slurm-{site_name(3)}-"
    known = next(one.record_id for one in replicated(count) if one.record_id.startswith(middle))
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
    _ask("count by site", lambda: store.counts("site"))
    for name, query in TOTALS.items():
        question = parse_totals(query, ALL)
        _ask(f"total {name}", lambda question=question: store.totals(question))  # type: ignore[misc]
    for name, query in SLOW_TOTALS.items() if count <= SLOW_RECORDS_MAX else ():
        question = parse_totals(query, ALL)
        _ask(f"from records: {name}", lambda question=question: store.totals(question), asks=1)  # type: ignore[misc]


def _ingest(
    store: RecordStore, given: Iterator[Record], size: int, expected: Stored = Stored.NEW
) -> tuple[float, str, float]:
    """Records per second of `put` alone, and the processor seconds of this process for each."""
    count, seconds, spent = 0, 0.0, 0.0
    for batch in _batches(given, size):
        start, began = time.perf_counter(), time.process_time()
        answers = store.put(batch)
        seconds += time.perf_counter() - start
        spent += time.process_time() - began
        count += len(batch)
        if answers != [expected] * len(batch):
            raise RuntimeError(f"not all records were {expected.value}")
    return count / seconds, "records/s", spent / count


def limits(url: str, count: int, folder: Path) -> None:
    """What the same database does with the same bytes in a table of one column."""
    bodies = [encode_record(record) for record in replicated(count)]
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
    row("plain executemany, batches of 1000", len(bodies) / (time.perf_counter() - start), "records/s")
    connection.text_factory = bytes
    start = time.perf_counter()
    found = sum(1 for _ in connection.execute("SELECT body FROM plain"))
    row("plain SELECT", found / (time.perf_counter() - start), "records/s")
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
            row("plain COPY, batches of 1000", len(bodies) / (time.perf_counter() - start), "records/s")
            start = time.perf_counter()
            with cursor.copy(f"COPY bench_plain TO STDOUT {form}") as copy:
                found = sum(1 for _ in copy)
            row("plain COPY out", found / (time.perf_counter() - start), "records/s")
            start = time.perf_counter()
            found = len(cursor.execute("SELECT body FROM bench_plain").fetchall())
            row("plain SELECT", found / (time.perf_counter() - start), "records/s")
        finally:
            cursor.execute("DROP TABLE bench_plain")


def settle(url: str) -> None:
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


def _parts(url: str) -> dict[str, int]:
    """The bytes of each table and index."""
    path = sqlite_path(url)
    if path is not None:
        lite = sqlite3.connect(path)
        try:
            return dict(lite.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
        except sqlite3.OperationalError:  # this SQLite was built without the table of sizes
            return {}
        finally:
            lite.close()
    with psycopg.connect(url) as connection:
        return dict(
            connection.execute(
                "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relkind IN ('r', 'i') "
                "AND relnamespace = 'public'::regnamespace"
            ).fetchall()
        )


def renamed(given: Iterator[Record]) -> Iterator[Record]:
    """The same with ids of their own."""
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
    row(name, statistics.median(times) * 1000, "ms")


def _ask_page(name: str, store: RecordStore, question: Question) -> None:
    _ask(name, lambda: list(store.stream(question)))


def row(name: str, value: float, unit: str, spent_seconds: float | None = None) -> None:
    """Print a figure; with what the processor of this process spent on each."""
    processor = "" if spent_seconds is None else f"   processor {spent_seconds * 1e6:.1f} us each"
    print(f"  {name:<42}{value:>12,.{0 if value >= 1000 else 2}f} {unit}{processor}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
