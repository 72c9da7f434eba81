"""A large account for questions, made quickly: the database itself repeats a hundred thousand records in time.

    python -m bench.filled --records 10000000 --database sqlite:////tmp/large.sqlite
    python -m bench.store --records 10000000 --database sqlite:////tmp/large.sqlite     # asks it

What is there afterwards is what `bench.store` would have put there, record by record, but nothing about ingest can be
learned from it. Then the records are folded into the rollups, which is measured.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice

import psycopg

from bench.records import BASE_RECORDS, FIRST_STOP, SPAN_SECONDS, records, replicated
from bench.store import renamed, row, settle, singles
from jobmeter.model.record import Record, microseconds
from jobmeter.store.address import sqlite_path
from jobmeter.store.open import open_store

_BASE = "CREATE TEMP TABLE base (seq bigint, head text, off bigint, runtime_us bigint)"
_SHIFTED = """
    INSERT INTO records (start_us, stop_us, site, grp, usr, record_id, core, since_us)
    SELECT stop_us - runtime_us, stop_us, site, grp, usr, record_id, core, since_us FROM (
        SELECT {first} + ({turn} * {span} + b.off) * {base} / {count} * 1000000 AS stop_us, b.runtime_us, r.site, r.grp,
        r.usr, b.head || (3999999 + {turn} * {base} + b.seq) AS record_id, r.core, r.since_us, b.seq
        FROM base b JOIN records r ON r.seq = b.seq
    ) AS shifted ORDER BY seq"""
_PENDING = (
    "INSERT INTO rollup_pending (low, high{column}) SELECT min(seq), max(seq){seqs} FROM records WHERE seq > {base} "
    "GROUP BY (seq - 1) / 1000 ORDER BY 1"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Fill an empty database."""
    parser = argparse.ArgumentParser(prog="bench.filled", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000, metavar="N", help=f"a multiple of {BASE_RECORDS}")
    parser.add_argument("--database", metavar="URL", required=True)
    arguments = parser.parse_args(argv)
    count, url = arguments.records, arguments.database
    store = open_store(url, migrate=True)
    try:
        if count % BASE_RECORDS or store.counts()[""]:
            print("the database is not empty, or the number not a multiple", file=sys.stderr)
            return 2
        first = list(islice(replicated(count), BASE_RECORDS))
        for start in range(0, BASE_RECORDS, 1000):
            store.put(first[start : start + 1000])
        began = time.perf_counter()
        _repeat(url, count)
        row("filled by the database", count / (time.perf_counter() - began), "records/s")
        more = list(renamed(iter(first[: singles(count)])))
        for start in range(0, len(more), 1000):
            store.put(more[start : start + 1000])
        settle(url)
        began, spent = time.perf_counter(), time.process_time()
        while store.fold():
            pass
        spent = (time.process_time() - spent) / count
        row("folded into rollups", count / (time.perf_counter() - began), "records/s", spent)
    finally:
        store.close()
    return 0


def _repeat(url: str, count: int) -> None:
    """Repeat the records that are there, each time later, and note that they are in no rollup yet."""
    base = [
        (
            place + 1,
            one.record_id.rpartition("-")[0] + "-",
            _seconds(one),
            microseconds(_stop(one)) - microseconds(one.start_time),
        )
        for place, one in enumerate(records(BASE_RECORDS))
    ]
    known = {"first": microseconds(FIRST_STOP), "span": SPAN_SECONDS, "base": BASE_RECORDS, "count": count}
    shifted = [_SHIFTED.format(turn=turn, **known) for turn in range(1, count // BASE_RECORDS)]
    path = sqlite_path(url)
    if path is None:
        with psycopg.connect(url) as server, server.cursor() as cursor:
            cursor.execute(_BASE)
            cursor.executemany("INSERT INTO base VALUES (%s, %s, %s, %s)", base)
            for statement in (*shifted, _PENDING.format(column=", seqs", seqs=", array_agg(seq)", base=BASE_RECORDS)):
                cursor.execute(statement.encode())
        return
    lite = sqlite3.connect(path, isolation_level=None)
    for setting in ("synchronous=OFF", "cache_size=-262144"):
        lite.execute(f"PRAGMA {setting}")
    lite.execute(_BASE)
    lite.execute("BEGIN")
    lite.executemany("INSERT INTO base VALUES (?, ?, ?, ?)", base)
    lite.execute("COMMIT")
    for statement in (*shifted, _PENDING.format(column="", seqs="", base=BASE_RECORDS)):
        lite.execute(statement)
    lite.close()


def _stop(one: Record) -> datetime:
    return one.stop_time or one.start_time


def _seconds(one: Record) -> int:
    """From the first stop to this one."""
    return (_stop(one) - FIRST_STOP) // timedelta(seconds=1)


if __name__ == "__main__":
    sys.exit(main())
