"""`jobmeter report KIND …`: what the account says, published or shown. Each kind is a file of `run/reports/`."""

from __future__ import annotations

import argparse
from typing import Protocol, cast

from jobmeter.registry import loaded_from

SUMMARY: str = "reports what the account says: APEL, GRACC, priorities, utilisation, the month on one page"

_KINDS = "jobmeter.run.reports"


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
    return {
        module.__name__.rpartition(".")[2].replace("_", "-"): cast("Kind", module) for module in loaded_from(_KINDS)
    }


def declare(parser: argparse.ArgumentParser) -> None:
    """The arguments of all kinds."""
    inner = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for name, kind in kinds().items():
        kind.options(inner.add_parser(name, help=kind.ABOUT, description=kind.ABOUT))


def execute(arguments: argparse.Namespace) -> int:
    """Make the report that was chosen."""
    return kinds()[arguments.kind].perform(arguments)
