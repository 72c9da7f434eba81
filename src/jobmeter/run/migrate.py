"""`jobmeter migrate`: create or upgrade the tables of a database."""

from __future__ import annotations

import argparse
import sys

from jobmeter.contract import StoreUnavailable
from jobmeter.store.address import shown
from jobmeter.store.fault import DatabaseUrlFaulty, SchemaUnfit
from jobmeter.store.migrate import pending, upgrade

SUMMARY = "creates or upgrades the tables of a database"


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--database", metavar="URL", required=True, help="sqlite:///PATH or postgresql://USER@HOST/DATABASE"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the pending steps and change nothing")


def execute(arguments: argparse.Namespace) -> int:
    """Run the pending steps, or show them. 0: done, 1: the database does not answer, 2: it is not for this program."""
    url: str = arguments.database
    try:
        steps = pending(url) if arguments.dry_run else upgrade(url)
    except (DatabaseUrlFaulty, SchemaUnfit) as fault:
        sys.stderr.write(f"jobmeter migrate: {fault}\n")
        return 2
    except StoreUnavailable as fault:
        sys.stderr.write(f"jobmeter migrate: {shown(url)}: {fault}\n")
        return 1
    word = "pending" if arguments.dry_run else "done"
    for step in steps:
        sys.stdout.write(f"{word}: {step.revision} {step.title}\n")
    if not steps:
        sys.stdout.write("the database is up to date\n")
    return 0
