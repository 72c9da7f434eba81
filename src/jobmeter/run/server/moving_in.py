"""`jobmeter migrate --from`: an AUDITOR database into ours, compared, and followed until the switch."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from msgspec import to_builtins

from jobmeter.contract import StoreUnavailable
from jobmeter.moving.comparing import Comparison, Line, compare
from jobmeter.moving.source import ROWS_AT_ONCE, AuditorDatabase, NoAuditorDatabase, SourceAway, Sums
from jobmeter.moving.transfer import Bad, Carried, Target, Transfer, batches, judged, record_id_of
from jobmeter.observe.host import SystemClock
from jobmeter.report.visible import visible
from jobmeter.run.records.text import table
from jobmeter.store.address import shown
from jobmeter.wire.auditor import BadRecord

OK, FAILED, WRONG_USE = 0, 1, 2

_LISTED_MAX = 50
_PROGRESS_EVERY_SECONDS = 0.5

log = logging.getLogger("jobmeter.run")


def try_out(arguments: argparse.Namespace) -> int:
    """The dry run: reads and checks every row of the source, and stores nothing."""
    with _faults() as told:
        database, told.listing = AuditorDatabase(arguments.source), _Listing(arguments)
        carried = Carried()
        with database.snapshot() as snapshot:
            meter = _Meter("checked", snapshot.count)
            for rows in batches(snapshot.rows(-1, None), ROWS_AT_ONCE):
                for row, found in zip(rows, judged(rows), strict=True):
                    if isinstance(found, BadRecord):
                        carried.bad += 1
                        told.listing.add(Bad(row.id, record_id_of(row.body), str(found)))
                carried.read += len(rows)
                meter.show(carried.read)
            meter.end()
            sums = snapshot.sums()
        report = {
            "source": shown(arguments.source),
            "schema": database.schema.name.lower(),
            "dry_run": True,
            "read": carried.read,
            "bad": carried.bad,
            "months": [{**place._asdict(), **_sums(found)} for place, found in sorted(sums.items())],
        }
        told.listing.put(report)
        if arguments.json:
            _write(json.dumps(report))
        else:
            rows_ = [[place.month, place.site, *_cells(found)] for place, found in sorted(sums.items())]
            for line in table(("MONTH", "SITE", "RECORDS", "COMPONENTS", "AMOUNTS"), rows_):
                _write(line)
            _write(f"{carried.read} rows would be read, {carried.bad} of them would become dead letters")
    return told.code


def move_in(store: Target, arguments: argparse.Namespace) -> int:
    """Read the source into `store`, compare, and follow when that is asked for. 1 when both are not equal."""
    with _faults() as told, _stopping() as stop:
        database, told.listing = AuditorDatabase(arguments.source), _Listing(arguments)
        name = f"migrate {shown(arguments.source)}"
        transfer = Transfer(store, name, SystemClock(), from_start=arguments.from_start)
        carried, compared = _once(database, transfer, store, arguments, told.listing)
        _report(arguments, database, carried, compared, told.listing)
        if compared is not None and not compared.equal:
            told.code = FAILED
        if arguments.follow:
            _follow(database, transfer, arguments, stop)
    return told.code


def _once(
    database: AuditorDatabase, transfer: Transfer, store: Target, arguments: argparse.Namespace, listing: _Listing
) -> tuple[Carried, Comparison | None]:
    with database.snapshot() as snapshot:
        meter = _Meter("carried over", snapshot.count)
        carried = transfer.run(snapshot, lambda now: meter.show(now.read), listing.add)
        meter.end()
        if arguments.no_compare:
            return carried, None
        meter = _Meter("compared", snapshot.count)
        compared = compare(snapshot, store, meter.show)
        meter.end()
        return carried, compared


def _follow(
    database: AuditorDatabase, transfer: Transfer, arguments: argparse.Namespace, stop: threading.Event
) -> None:
    """Ask for news every so often. A database that is away is asked again; nothing is passed over meanwhile."""
    log.info("migrate.following source=%s every_seconds=%s", shown(arguments.source), arguments.poll_seconds)
    listing = _Listing(arguments)
    while not stop.wait(arguments.poll_seconds):
        try:
            with database.snapshot() as snapshot:
                carried = transfer.run(snapshot, lambda _: None, listing.add)
        except (SourceAway, StoreUnavailable) as fault:
            log.warning("migrate.put_off reason=%r", str(fault))
            continue
        if carried.new or carried.stopped or listing.fresh():
            log.info("migrate.followed new=%d stopped=%d bad=%d", carried.new, carried.stopped, carried.bad)


def _report(
    arguments: argparse.Namespace,
    database: AuditorDatabase,
    carried: Carried,
    compared: Comparison | None,
    listing: _Listing,
) -> None:
    report: dict[str, Any] = {
        "source": shown(arguments.source),
        "schema": database.schema.name.lower(),
        **to_builtins(carried),
    }
    listing.put(report)
    if compared is not None:
        report["equal"] = compared.equal
        report["total"] = _line(compared.total)
        report["months"] = [_line(line) for line in compared.lines]
        report["different"], report["missing"] = list(compared.different), list(compared.missing)
    if arguments.json:
        _write(json.dumps(report))
        return
    if compared is not None:
        _write_comparison(compared)
    _write(
        f"{carried.read} rows read: {carried.new} new, {carried.same} stored before, "
        f"{carried.stopped} stopped since, {carried.bad} that cannot be stored (see dead letters)"
    )


def _write_comparison(compared: Comparison) -> None:
    heads = ("MONTH", "SITE", "", "RECORDS", "COMPONENTS", "AMOUNTS")
    rows: list[Sequence[str]] = []
    for line in (*compared.lines, compared.total):
        rows.append((line.place.month, line.place.site, "source", *_cells(line.source)))
        for word in ("stored", "dead", "different", "missing"):
            found: Sums = getattr(line, word)
            if word == "stored" or found.records:
                rows.append(("", "", word, *_cells(found)))
    for text in table(heads, rows):
        _write(text)
    for word, ids in (("different", compared.different), ("missing", compared.missing)):
        for record_id in ids[:_LISTED_MAX]:
            _write(f"{word}: {visible(record_id)}")
        if len(ids) > _LISTED_MAX:
            _write(f"{word}: {len(ids) - _LISTED_MAX} more")
    _write("equal" if compared.equal else "NOT EQUAL")


def _cells(sums: Sums) -> tuple[str, str, str]:
    return str(sums.records), str(sums.components), f"{sums.amount:f}"


def _sums(sums: Sums) -> dict[str, Any]:
    amount = sums.amount
    return {
        "records": sums.records,
        "components": sums.components,
        "amount": int(amount) if amount == amount.to_integral_value() else float(amount),
    }


def _line(line: Line) -> dict[str, Any]:
    words = ("source", "stored", "dead", "different", "missing")
    return {**line.place._asdict(), **{word: _sums(getattr(line, word)) for word in words}, "equal": line.balanced}


class _Listing:
    """The rows that cannot be stored: named on standard error, the first of them also in the report."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._json = arguments.json
        self._kept: list[Bad] = []
        self._seen: set[int] = set()
        self._before = 0

    def add(self, bad: Bad) -> None:
        """Take one in."""
        if bad.id in self._seen:
            return
        self._seen.add(bad.id)
        if len(self._kept) < _LISTED_MAX:
            self._kept.append(bad)
            named = "" if bad.record_id is None else f" {visible(bad.record_id)}"
            sys.stderr.write(f"row {bad.id}{named}: {visible(bad.reason)}\n")

    def fresh(self) -> bool:
        """Whether one came since this was last asked."""
        before, self._before = self._before, len(self._seen)
        return self._before > before

    def put(self, report: dict[str, Any]) -> None:
        """Into a report, the first of them."""
        report["bad_rows"] = [to_builtins(bad) for bad in self._kept]


class _Told:
    def __init__(self) -> None:
        self.code = OK
        self.listing: _Listing


@contextmanager
def _faults() -> Iterator[_Told]:
    """What goes wrong within becomes a sentence and an exit code."""
    told = _Told()
    try:
        yield told
    except NoAuditorDatabase as fault:
        sys.stderr.write(f"jobmeter migrate: {fault}\n")
        told.code = WRONG_USE
    except (SourceAway, StoreUnavailable) as fault:
        sys.stderr.write(f"jobmeter migrate: {fault}; what was carried over stays, start again to go on\n")
        told.code = FAILED


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """The event that SIGTERM and SIGINT set while following. Before, a signal ends the program, which does no harm."""
    stop = threading.Event()

    def asked(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        log.info("migrate.stopping signal=%s", signal.Signals(number).name)
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Meter:
    """Progress on standard error where a person looks on."""

    def __init__(self, does: str, total: int) -> None:
        self._does = does
        self._total = total
        self._shown = sys.stderr.isatty()
        self._told = 0.0

    def show(self, number: int) -> None:
        """Tell how far it is, now and then."""
        if self._shown and time.monotonic() - self._told >= _PROGRESS_EVERY_SECONDS:
            self._told = time.monotonic()
            sys.stderr.write(f"\r{number:,} of {self._total:,} {self._does}")

    def end(self) -> None:
        """End the line."""
        if self._shown and self._told:
            sys.stderr.write("\n")


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
