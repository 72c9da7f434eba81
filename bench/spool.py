"""How fast the spool takes records in and gives them out, beside plain SQLite inserts on the same disk."""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobmeter.contract import JobBatch
from jobmeter.deliver.pump import Pump
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.outcome import Accepted, Outcome
from jobmeter.model.record import Component, Record, Score
from jobmeter.wire.auditor import encode_record

START = datetime(2024, 1, 1, tzinfo=UTC)


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class Nowhere:
    """A sink that takes everything at once, so that only spool and pump are measured."""

    def __init__(self, batch_limit: int) -> None:
        self.batch_limit = batch_limit

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        return [Accepted()] * len(items)

    def close(self) -> None:
        pass


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.spool", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=1000, help="records per transaction")
    parser.add_argument("--folder", type=Path, help="where to put the files (default: the system's temporary folder)")
    options = parser.parse_args(argv)
    records = [_record(number) for number in range(options.records)]
    batches = [records[start : start + options.batch] for start in range(0, len(records), options.batch)]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        plain = _rate(len(records), lambda: _plain_inserts(Path(folder) / "plain.db", batches))
        with Spool(Path(folder) / "spool.db", SpoolSettings(), SystemClock()) as spool:
            absorbed = _rate(len(records), lambda: _absorb(spool, batches))
            again = _rate(len(records), lambda: _absorb(spool, batches))
            pump = Pump(spool, Nowhere(options.batch), threading.Event())
            pumped = _rate(len(records), lambda: pump.drain(3600))
    print(f"spool, {options.records} records, {options.batch} per transaction, every transaction synced to the disk")
    print(f"  plain SQLite inserts of encoded bodies  {plain:>10,.0f} records/s")
    for name, rate in (("absorb (encode, compare, store)", absorbed), ("absorb repeats", again), ("pump", pumped)):
        print(f"  {name:<38}  {rate:>10,.0f} records/s  {rate / plain:.2f} of plain")
    return 0


def _record(number: int) -> Record:
    start = START + timedelta(seconds=number)
    return Record(
        f"slurm-{number}",
        (
            Component("Cores", 8, (Score("HEPSPEC06", 10.5),)),
            Component("Memory", 16_000, ()),
            Component("TotalCPU", 28_000 + number % 1000, ()),
        ),
        start,
        {"site_id": ("site",), "user_id": (f"user{number % 500}",), "group_id": (f"group{number % 30}",)},
        start + timedelta(hours=1),
    )


def _plain_inserts(path: Path, batches: Sequence[Sequence[Record]]) -> None:
    bodies = [[(encode_record(record),) for record in batch] for batch in batches]
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE entries (number INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        for rows in bodies:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO entries (body) VALUES (?)", rows)
            db.execute("COMMIT")
    db.close()


def _absorb(spool: Spool, batches: Sequence[Sequence[Record]]) -> None:
    for number, batch in enumerate(batches):
        spool.absorb("bench", JobBatch(tuple(batch), (), str(number), len(batch), {}))


def _rate(number: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return number / (time.perf_counter() - started)


if __name__ == "__main__":
    raise SystemExit(main())
