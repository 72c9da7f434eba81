"""How fast an AUDITOR database of either generation is read into our store, and compared with it.

    python -m bench.moving --records 1000000                                 # into SQLite in a temporary folder
    python -m bench.moving --records 1000000 --database postgresql://…       # into an EMPTY database

The source is a private PostgreSQL of this run's own, filled beforehand with AUDITOR's tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import psycopg

from bench.postgresql import create_database, private_server
from bench.records import records
from jobmeter.model.record import Record
from jobmeter.moving.comparing import compare
from jobmeter.moving.source import AuditorDatabase
from jobmeter.moving.transfer import Target, Transfer
from jobmeter.observe.host import SystemClock
from jobmeter.store.open import open_store

_JSONB = """CREATE TABLE auditor_accounting (
    id int GENERATED ALWAYS AS IDENTITY, record_id text NOT NULL UNIQUE, meta jsonb, components jsonb,
    start_time timestamptz NOT NULL, stop_time timestamptz, runtime bigint, updated_at timestamptz NOT NULL)"""

_TABLES = """
    CREATE TABLE accounting (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, record_id text NOT NULL UNIQUE,
        start_time timestamptz NOT NULL, stop_time timestamptz, runtime bigint, updated_at timestamptz NOT NULL);
    CREATE TABLE meta (record_id text NOT NULL, key text NOT NULL, value text NOT NULL,
        PRIMARY KEY (record_id, key, value));
    CREATE TABLE components (id int PRIMARY KEY, name text NOT NULL, amount bigint NOT NULL);
    CREATE TABLE scores (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
        value double precision NOT NULL, UNIQUE (name, value));
    CREATE TABLE components_scores (id int GENERATED ALWAYS AS IDENTITY, component_id int NOT NULL,
        score_id int NOT NULL);
    CREATE TABLE records_components (record_id int NOT NULL, component_id int NOT NULL);
    INSERT INTO accounting (record_id, start_time, stop_time, runtime, updated_at)
        SELECT record_id, start_time, stop_time, runtime, updated_at FROM auditor_accounting ORDER BY id;
    INSERT INTO meta SELECT record_id, m.key, v FROM auditor_accounting, jsonb_each(meta) m,
        jsonb_array_elements_text(m.value) v;
    CREATE TEMP TABLE parts AS SELECT a.id AS record, row_number() OVER () AS no, c FROM auditor_accounting a,
        jsonb_array_elements(components) c;
    INSERT INTO components SELECT no, c->>'name', (c->>'amount')::bigint FROM parts;
    INSERT INTO records_components SELECT record, no FROM parts;
    INSERT INTO scores (name, value) SELECT DISTINCT s->>'name', (s->>'value')::double precision
        FROM parts, jsonb_array_elements(c->'scores') s;
    INSERT INTO components_scores (component_id, score_id) SELECT no, scores.id FROM parts,
        jsonb_array_elements(c->'scores') s, scores
        WHERE scores.name = s->>'name' AND scores.value = (s->>'value')::double precision;
    DROP TABLE auditor_accounting"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one line a row."""
    parser = argparse.ArgumentParser(prog="bench.moving", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000, metavar="N")
    parser.add_argument("--database", metavar="URL", help="default: SQLite in a temporary folder")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="jobmeter-bench-") as folder, private_server() as address:
        url = arguments.database or f"sqlite:///{folder}/store.sqlite"
        source = create_database(address, "auditor")
        with psycopg.connect(source) as connection:
            _fill(connection, arguments.records)
        fresh = cast("Target", open_store(url, migrate=True))
        with closing(fresh):
            if fresh.counts()[""]:
                print("the database is not empty", file=sys.stderr)
                return 2
            _measure(source, fresh, "one table", arguments.records)
        with psycopg.connect(source) as connection:
            connection.execute(_TABLES.encode())
        with psycopg.connect(source, autocommit=True) as connection:
            connection.execute("ANALYZE")
        again = cast("Target", open_store(f"sqlite:///{folder}/second.sqlite", migrate=True))
        with closing(again):
            _measure(source, again, "five tables, to SQLite", arguments.records)
    return 0


def _measure(source: str, store: Target, what: str, number: int) -> None:
    before = most = _anonymous_kib()

    def watch(_: object) -> None:
        nonlocal most
        most = max(most, _anonymous_kib())

    with AuditorDatabase(source).snapshot() as snapshot:
        began = time.perf_counter()
        carried = Transfer(store, what, SystemClock()).run(snapshot, watch, lambda _: None)
        print(f"  move in, {what:<30} {number / (time.perf_counter() - began):>12,.0f} records/s")
        began = time.perf_counter()
        compared = compare(snapshot, store, watch)
        print(f"  compare, {what:<30} {number / (time.perf_counter() - began):>12,.0f} records/s")
    if carried.new != number or not compared.equal:
        raise RuntimeError(f"{carried} {compared.total}")
    # Without pages of the database's file, which the kernel lends and takes back.
    print(f"  memory more, {what:<26} {(most - before) / 1024:>12,.1f} MiB")


def _anonymous_kib() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1])
    raise RuntimeError("no RssAnon in /proc/self/status")


def _fill(connection: psycopg.Connection[Any], number: int) -> None:
    connection.execute(_JSONB.encode())
    columns = "record_id, meta, components, start_time, stop_time, runtime, updated_at"
    with connection.cursor() as cursor, cursor.copy(f"COPY auditor_accounting ({columns}) FROM STDIN".encode()) as copy:
        for row in _rows(number):
            copy.write_row(row)


def _rows(number: int) -> Iterator[tuple[Any, ...]]:
    for item in records(number):
        yield (
            item.record_id,
            json.dumps(item.meta),
            json.dumps(_components(item)),
            item.start_time,
            item.stop_time,
            item.runtime_seconds,
            item.stop_time,
        )


def _components(item: Record) -> list[dict[str, Any]]:
    return [
        {
            "name": part.name,
            "amount": part.amount,
            "scores": [{"name": score.name, "value": score.value} for score in part.scores],
        }
        for part in item.components
    ]


if __name__ == "__main__":
    sys.exit(main())
