"""`jobmeter migrate`: create or upgrade the tables of a database, and read an AUDITOR database into it."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from jobmeter.contract import StoreUnavailable
from jobmeter.run.server.database_options import add_database, database_of
from jobmeter.store.address import shown
from jobmeter.store.fault import DatabaseUrlFaulty, SchemaUnfit
from jobmeter.store.migrate import create_missing, pending, upgrade
from jobmeter.store.open import open_store

if TYPE_CHECKING:
    from jobmeter.moving.transfer import Target

SUMMARY = "creates or upgrades the tables of a database, and moves in from AUDITOR"


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_database(parser)
    parser.add_argument("--create", action="store_true", help="create the PostgreSQL database when there is none")
    parser.add_argument("--as-auditor", action="store_true", help="as AUDITOR's migrate: its files, and with --create")
    parser.add_argument(
        "--dry-run", action="store_true", help="show the pending steps, or check the rows of --from; change nothing"
    )
    _declare_moving(parser)


def _declare_moving(parser: argparse.ArgumentParser) -> None:
    moving = parser.add_argument_group("moving in from AUDITOR")
    moving.add_argument(
        "--from",
        dest="source",
        metavar="URL",
        help="then read AUDITOR's database postgresql://USER@HOST/DATABASE, which is never written to",
    )
    moving.add_argument("--follow", action="store_true", help="go on reading what comes and changes, until a signal")
    moving.add_argument("--poll-seconds", type=float, default=30.0, metavar="N", help="with --follow: how often (30)")
    moving.add_argument("--no-compare", action="store_true", help="do not compare both databases afterwards")
    moving.add_argument("--from-start", action="store_true", help="read all again, not only what came since")
    moving.add_argument("--json", action="store_true", help="print the result as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Run the pending steps, or show them. 0: done, 1: the database does not answer, 2: it is not for this program.

    With --from, then read that database; 1 also when both are not equal afterwards.
    """
    if arguments.source is not None and (fault := _source_fault(arguments.source)) is not None:
        sys.stderr.write(f"jobmeter migrate: {fault}\n")
        return 2
    if arguments.source is not None and arguments.dry_run:
        from jobmeter.run.server.moving_in import try_out  # noqa: PLC0415 - needs the driver of PostgreSQL

        return try_out(arguments)
    url = database_of(arguments, as_auditor=arguments.as_auditor)
    try:
        if arguments.dry_run:
            steps = pending(url)
        else:
            if (arguments.create or arguments.as_auditor) and create_missing(url):
                sys.stdout.write(f"created: {shown(url)}\n")
            steps = upgrade(url)
    except (DatabaseUrlFaulty, SchemaUnfit) as fault:
        sys.stderr.write(f"jobmeter migrate: {fault}\n")
        return 2
    except StoreUnavailable as fault:
        sys.stderr.write(f"jobmeter migrate: {shown(url)}: {fault}\n")
        return 1
    if arguments.source is not None:
        return _move_in(url, arguments)
    word = "pending" if arguments.dry_run else "done"
    for step in steps:
        sys.stdout.write(f"{word}: {step.revision} {step.title}\n")
    if not steps:
        sys.stdout.write("the database is up to date\n")
    return 0


def _source_fault(url: str) -> str | None:
    """Why --from cannot be used, or None."""
    if not url.startswith(("postgresql://", "postgres://")):
        return "--from takes AUDITOR's database: postgresql://USER@HOST/DATABASE"
    if find_spec("psycopg") is None:
        return "PostgreSQL needs the driver: pip install 'jobmeter[postgresql]'"
    return None


def _move_in(url: str, arguments: argparse.Namespace) -> int:
    from jobmeter.run.server.moving_in import move_in  # noqa: PLC0415 - as above

    store = cast("Target", open_store(url))
    try:
        return move_in(store, arguments)
    finally:
        store.close()
