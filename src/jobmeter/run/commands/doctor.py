"""`jobmeter doctor`: checks this host and says what is in the way, each with the command that mends it."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from jobmeter.observe.host import Host, this_host
from jobmeter.run.doctor.checks import Check, State, of_kernel, of_machine, of_python
from jobmeter.run.doctor.reach import of_batch, of_server, of_spools
from jobmeter.run.server_options import add_server, endpoint_of, shown_to

SUMMARY: str = "checks this host and says what to mend, and how"

FAILED = 1

_SERVICES = (Path("/var/lib/jobmeter"), Path("/var/lib/jobmeter-serve"), Path("/var/lib/jobmeter-node"))
"""Where the units keep what they have; looked at by who may write there."""

_SIGNS = {State.GOOD: "ok  ", State.WARNING: "warn", State.BAD: "BAD ", State.NONE: "-   "}


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add_server(parser, timeout_seconds=5.0)
    add("--data", metavar="DIR", type=Path, action="append", help="folders to look for room and spools in; repeatable")
    add("--port", metavar="PORT", type=int, default=8000, help="a port that a server here would need (8000)")
    add("--strict", action="store_true", help="warnings count as well")
    add("--json", action="store_true", help="print the checks as a JSON array")


def execute(arguments: argparse.Namespace) -> int:
    """Check everything. 0 when nothing is in the way, else 1."""
    checks = list(all_checks(arguments, this_host()))
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(checks).decode() + "\n")
    else:
        sys.stdout.write("\n".join(_lines(checks)) + "\n")
    counted = (State.BAD, State.WARNING) if arguments.strict else (State.BAD,)
    return FAILED if any(check.state in counted for check in checks) else 0


def all_checks(arguments: argparse.Namespace, host: Host) -> Iterator[Check]:
    """Every check, in the order in which a person mends things."""
    folders = arguments.data or [Path("jobmeter-data"), *(each for each in _SERVICES if os.access(each, os.W_OK))]
    yield from of_python()
    yield from of_machine(host, folders, arguments.port)
    yield from of_kernel(host, os.geteuid())
    yield from of_batch(host, shutil.which)
    yield from of_spools(folders)
    yield from of_server(endpoint_of(arguments), shown_to(arguments), arguments.token_file)


def _lines(checks: list[Check]) -> Iterator[str]:
    for check in checks:
        yield f"{_SIGNS[check.state]}  {check.name}: {check.found}"
        if check.mend:
            yield f"        mend: {check.mend}"
    bad, warned = (sum(check.state is state for check in checks) for state in (State.BAD, State.WARNING))
    yield f"{len(checks)} checks, {bad} bad, {warned} to look at"
