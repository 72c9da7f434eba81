"""`jobmeter verify`: whether the account adds up: rollups and sums of days against records, the chain of versions."""

from __future__ import annotations

import argparse
import sys

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.report.visible import visible
from jobmeter.run.server.database_options import add_database, database_of
from jobmeter.store.fault import DatabaseUrlFaulty, SchemaUnfit
from jobmeter.store.open import open_store

SUMMARY: str = "checks that a database adds up, and builds its rollups anew"

TOLD_MAX = 20


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_database(parser)
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="first forget the rollups and make them anew of the records; sums of days go, and are made when asked for",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Check, and say what does not add up. 0: all is well, 1: it is not or there is no answer, 2: no such database."""
    url = database_of(arguments)
    try:
        store = open_store(url)
        try:
            return _checked(store, rebuild=arguments.rebuild)
        finally:
            store.close()
    except (DatabaseUrlFaulty, SchemaUnfit) as fault:
        sys.stderr.write(f"jobmeter verify: {fault}\n")
        return 2
    except StoreUnavailable as fault:
        sys.stderr.write(f"jobmeter verify: {fault}\n")
        return 1


def _checked(store: RecordStore, *, rebuild: bool) -> int:
    if rebuild:
        store.rebuild_rollups()
        while store.fold():
            pass
        sys.stdout.write("rollups: made anew\n")
    faults = store.check_rollups()
    for fault in faults[:TOLD_MAX]:
        sys.stdout.write(f"rollups: {fault}\n")
    if faults:
        sys.stdout.write(f"rollups: {len(faults)} sums are not what the records add up to; mend with --rebuild\n")
        return 1
    sys.stdout.write(f"rollups: {store.counts()['']} records add up\n")
    return _checked_versions(store)


def _checked_versions(store: RecordStore) -> int:
    faults = store.check_versions()
    for fault in faults[:TOLD_MAX]:
        sys.stdout.write(f"versions: {visible(fault)}\n")
    sys.stdout.write(f"versions: {len(faults)} faults\n" if faults else "versions: the chain holds\n")
    return 1 if faults else 0
