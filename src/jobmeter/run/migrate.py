"""`jobmeter migrate`: create or upgrade the tables of a database."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from jobmeter.contract import StoreUnavailable
from jobmeter.run.server_settings import database_url, load_settings
from jobmeter.store.address import shown
from jobmeter.store.fault import DatabaseUrlFaulty, SchemaUnfit
from jobmeter.store.migrate import create_missing, pending, upgrade

SUMMARY = "creates or upgrades the tables of a database"


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("config", nargs="?", metavar="CONFIG", type=Path, help="settings of the server")
    parser.add_argument(
        "--database",
        metavar="URL",
        help="sqlite:///PATH or postgresql://USER@HOST/DATABASE (default: that of the settings and the environment)",
    )
    parser.add_argument(
        "--data", metavar="DIR", type=Path, default=Path("jobmeter-data"), help="data folder (default: ./jobmeter-data)"
    )
    parser.add_argument("--create", action="store_true", help="create the PostgreSQL database when there is none")
    parser.add_argument("--as-auditor", action="store_true", help="as AUDITOR's migrate: its files, and with --create")
    parser.add_argument("--dry-run", action="store_true", help="show the pending steps and change nothing")


def execute(arguments: argparse.Namespace) -> int:
    """Run the pending steps, or show them. 0: done, 1: the database does not answer, 2: it is not for this program."""
    url = arguments.database
    if url is None:
        loaded = load_settings(arguments.config, os.environ, Path.cwd(), as_auditor=arguments.as_auditor)
        url = database_url(loaded.settings, arguments.data)
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
    word = "pending" if arguments.dry_run else "done"
    for step in steps:
        sys.stdout.write(f"{word}: {step.revision} {step.title}\n")
    if not steps:
        sys.stdout.write("the database is up to date\n")
    return 0
