"""`jobmeter archive`: move old records into Parquet files now, list and verify the files, bring one back."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobmeter.contract import StoreUnavailable
from jobmeter.model.outcome import Stored
from jobmeter.model.record import from_microseconds
from jobmeter.observe.host import SystemClock
from jobmeter.report.visible import visible
from jobmeter.run.records.text import table
from jobmeter.run.server.archiving import archive_folder, plan_of
from jobmeter.run.server.database_options import add_data
from jobmeter.run.server.settings import database_url, load_settings
from jobmeter.serve.archive_settings import (
    PREFIX_DEFAULT,
    SCHEDULE_DEFAULT,
    ArchiveSettings,
    Archiving,
    archive_faults,
    archiving_of,
)
from jobmeter.serve.settings import ServeSettings
from jobmeter.store.address import shown
from jobmeter.store.archive.importing import NotOurs, records_of
from jobmeter.store.archive.ledger import ArchiveFile, left_in
from jobmeter.store.archive.moving import Plan, RowsChanged, archive_old, bring_back, unlisted, waiting
from jobmeter.store.archive.verifying import fault_of
from jobmeter.store.archive.writing import FileFaulty
from jobmeter.store.fault import DatabaseUrlFaulty, SchemaUnfit
from jobmeter.store.open import ArchivingStore, open_store

SUMMARY: str = "moves old records into Parquet files, lists and verifies these, brings one back"

OK, FAILED, WRONG_USE = 0, 1, 2
_COMPRESSIONS = ("zstd", "Gzip", "Snappy")
_DIGEST_SHOWN = 16
_REFUSED_TOLD = 20


def declare(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run = _action(actions, "run", "archive now, as the settings say or these options; one line for each file")
    run.add_argument(
        "--older-than-months", type=_months, metavar="N", help="whole months that stay (default: settings)"
    )
    run.add_argument("--path", type=Path, metavar="DIR", help="folder of the files")
    run.add_argument("--prefix", metavar="NAME", help="first part of their names")
    run.add_argument("--compression", choices=_COMPRESSIONS, help="of the files")
    run.add_argument("--dry-run", action="store_true", help="say how many records would be archived, and do nothing")
    listed = _action(actions, "list", "print the files with counts and digests")
    listed.add_argument("--json", action="store_true", help="print JSON lines")
    _action(actions, "verify", "read every file and compare it with what the database knows of it")
    imported = _action(actions, "import", "put the records of a file into the database; listed, ours or AUDITOR's")
    imported.add_argument("file", type=Path, metavar="FILE")


def _action(actions: Any, name: str, does: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=does, description=does)
    parser.add_argument("--config", metavar="CONFIG", type=Path, help="settings of the server")
    parser.add_argument("--database", metavar="URL", help="the server's database (default: that of its settings)")
    add_data(parser)
    return parser


def _months(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 1200):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of months from 0 to 1200")
    return int(text)


class _WrongUse(Exception):  # noqa: N818 - a decision, with a sentence
    pass


def execute(arguments: argparse.Namespace) -> int:
    """0: done; 1: it failed, or a file is not what it should be; 2: wrong use."""
    settings = load_settings(arguments.config, os.environ, Path.cwd()).settings
    url = arguments.database or database_url(settings, arguments.data)
    try:
        archiving = _archiving(settings)
        store = open_store(url, archive_folder=archive_folder(archiving, url))
        try:
            match arguments.action:
                case "run":
                    return _run(arguments, store, _plan(arguments, archiving, url))
                case "list":
                    return _list(arguments, store, archive_folder(archiving, url), archiving)
                case "verify":
                    return _verify(store)
                case _:
                    return _import(arguments.file, store)
        finally:
            store.close()
    except (_WrongUse, DatabaseUrlFaulty, SchemaUnfit, NotOurs) as fault:
        return _say(str(fault), WRONG_USE)
    except (StoreUnavailable, OSError, FileFaulty, RowsChanged) as fault:
        return _say(f"{shown(url)}: {fault}", FAILED)


def _archiving(settings: ServeSettings) -> Archiving | None:
    faults = archive_faults(settings.archive, settings.archival_config)
    if faults:
        raise _WrongUse("; ".join(faults))
    return archiving_of(settings.archive, settings.archival_config)


def _plan(arguments: argparse.Namespace, archiving: Archiving | None, url: str) -> Plan:
    if archiving is None and arguments.older_than_months is None:
        raise _WrongUse("the settings archive nothing: set archive.older_than_months, or give --older-than-months")
    asked = archiving or archiving_of(ArchiveSettings(0, cron_schedule=SCHEDULE_DEFAULT), None)
    plan = None if asked is None else plan_of(asked, url)
    folder = arguments.path or (None if plan is None else plan.folder)
    if folder is None or asked is None:
        raise _WrongUse("where shall the files lie? set archive.path, or give --path")
    months = asked.older_than_months if arguments.older_than_months is None else arguments.older_than_months
    return Plan(folder, months, arguments.prefix or asked.prefix, arguments.compression or asked.compression)


def _run(arguments: argparse.Namespace, store: ArchivingStore, plan: Plan) -> int:
    now = SystemClock().now()
    with store.shelf() as shelf:
        if arguments.dry_run:
            _print(f"would archive {waiting(shelf, plan, now)} records into {plan.folder}")
            return OK
        records = 0
        for moved in archive_old(shelf, plan, now):
            records += moved.records
            each = moved.size_bytes / moved.records
            _print(f"{moved.path}: {moved.records} records of {moved.month}, {each:.1f} bytes each")
    _print(f"archived {records} records")
    return OK


def _list(
    arguments: argparse.Namespace, store: ArchivingStore, folder: Path | None, archiving: Archiving | None
) -> int:
    files = store.archived_files()
    if arguments.json:
        for file in files:
            _print(json.dumps(_as_json(file)))
        return OK
    heads = ("FILE", "MONTH", "RECORDS", "WHOLE", "BYTES", "SHA256", "WRITTEN")
    for line in table(heads, map(_cells, files)):
        _print(line)
    prefix = PREFIX_DEFAULT if archiving is None else archiving.prefix
    if folder is not None and folder.is_dir():
        for path in unlisted(folder, prefix, files):
            _print(f"not listed, nobody reads it: {path}")
    return OK


def _cells(file: ArchiveFile) -> Sequence[str]:
    written = from_microseconds(file.written_us).isoformat(" ", "seconds")
    numbers = (str(left_in(file)), str(file.whole), str(file.size_bytes))
    return (file.path, file.month, *numbers, file.file_digest[:_DIGEST_SHOWN], written)


def _as_json(file: ArchiveFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "month": file.month,
        "records": left_in(file),
        "recalled": len(file.recalled),
        "whole": file.whole,
        "size_bytes": file.size_bytes,
        "sha256": file.file_digest,
        "content_sha256": file.content_digest,
        "first_stop": from_microseconds(file.first_stop_us).isoformat(),
        "last_stop": from_microseconds(file.last_stop_us).isoformat(),
        "written": from_microseconds(file.written_us).isoformat(),
    }


def _verify(store: ArchivingStore) -> int:
    faulty = 0
    for file in store.archived_files():
        fault = fault_of(store.archive, file)
        faulty += fault is not None
        _print(f"{file.path}: {fault or f'sound, {file.records} records'}")
    return FAILED if faulty else OK


def _import(path: Path, store: ArchivingStore) -> int:
    wanted = path.absolute()
    with store.shelf() as shelf:
        for file in store.archived_files():
            if wanted == Path(file.path) or (wanted.exists() and wanted == store.archive.locate(file).absolute()):
                count = bring_back(shelf, file)
                _print(f"{count} records are in the database again; {path} is no longer needed")
                return OK
    counts: Counter[Stored] = Counter()

    def refuse(reason: str) -> None:
        counts[Stored.REFUSED] += 1
        if counts[Stored.REFUSED] <= _REFUSED_TOLD:
            _say(visible(reason), FAILED)

    for block in records_of(store.archive.engine, path, refuse):
        counts.update(store.put(block))
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Stored)
    _print(f"{path}: {told}")
    return FAILED if counts[Stored.CONFLICT] or counts[Stored.REFUSED] else OK


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"jobmeter archive: {text}\n")
    return code
