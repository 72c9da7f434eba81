"""The options of commands that open the database of a server themselves."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from jobmeter.run.server.settings import database_url, load_settings

DATA_DEFAULT = Path("jobmeter-data")
"""The data folder of a server that was told none."""


def add_database(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument("config", nargs="?", metavar="CONFIG", type=Path, help="settings of the server")
    parser.add_argument(
        "--database",
        metavar="URL",
        help="sqlite:///PATH or postgresql://USER@HOST/DATABASE (default: that of the settings and the environment)",
    )
    add_data(parser)


def add_data(parser: argparse.ArgumentParser) -> None:
    """Declare where a server has its database unless it was told."""
    parser.add_argument(
        "--data", metavar="DIR", type=Path, default=DATA_DEFAULT, help="data folder (default: ./jobmeter-data)"
    )


def database_of(arguments: argparse.Namespace, *, as_auditor: bool = False) -> str:
    """The address of the database: as given, else that of the settings. Raises SettingsFaulty."""
    if arguments.database is not None:
        return str(arguments.database)
    loaded = load_settings(arguments.config, os.environ, Path.cwd(), as_auditor=as_auditor)
    return database_url(loaded.settings, arguments.data)
