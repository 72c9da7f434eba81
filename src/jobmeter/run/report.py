"""`jobmeter report KIND …`: what the account says, published or shown. Each kind is a file `report_KIND.py`."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Protocol, cast

SUMMARY: str = "reports what the account says: APEL, priorities, utilisation"


class Kind(Protocol):
    """What the module of a kind of report offers."""

    ABOUT: str

    def options(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments."""
        ...

    def perform(self, arguments: argparse.Namespace) -> int:
        """Do the work. The exit code, as of a command."""
        ...


def kinds() -> dict[str, Kind]:
    """The kinds by name, sorted; all are imported."""
    names = sorted(file.stem.removeprefix("report_") for file in Path(__file__).parent.glob("report_*.py"))
    return {
        name.replace("_", "-"): cast("Kind", importlib.import_module(f"{__package__}.report_{name}")) for name in names
    }


def declare(parser: argparse.ArgumentParser) -> None:
    """The arguments of all kinds."""
    inner = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for name, kind in kinds().items():
        kind.options(inner.add_parser(name, help=kind.ABOUT, description=kind.ABOUT))


def execute(arguments: argparse.Namespace) -> int:
    """Make the report that was chosen."""
    return kinds()[arguments.kind].perform(arguments)
