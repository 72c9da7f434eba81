"""`jobmeter sample-config`: a commented configuration file for a command or a plugin, from what it declares."""

from __future__ import annotations

import argparse
import sys

from jobmeter.run import kinds
from jobmeter.settings.sample import sample

SUMMARY: str = "prints a commented sample of a configuration file"


def declare(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="whose settings; left out, the names are listed")
    parser.add_argument("--yaml", action="store_true", help="YAML instead of TOML")


def execute(arguments: argparse.Namespace) -> int:
    """Print the sample or the list of names. 2 when there is no such name."""
    if arguments.name is None:
        width = max(map(len, kinds.names()))
        for name in kinds.names():
            print(f"{name:<{width}}  {_first_sentence(kinds.settings(name).__doc__ or '')}")  # noqa: T201
        return 0
    try:
        struct = kinds.settings(arguments.name)
    except kinds.NoSuchKind as fault:
        print(fault, file=sys.stderr)  # noqa: T201
        return 2
    print(sample(struct, "yaml" if arguments.yaml else "toml"), end="")  # noqa: T201
    return 0


def _first_sentence(text: str) -> str:
    first, dot, _ = " ".join(text.split()).partition(". ")
    return f"{first}{dot.strip()}"
