"""The options of commands that ask a server: where it is, what it is shown, and how long it may take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping

from jobmeter.peer import Endpoint, bearer


def add_server(
    parser: argparse.ArgumentParser,
    *,
    among: argparse._MutuallyExclusiveGroup | None = None,
    timeout_seconds: float = 60.0,
) -> None:
    """Declare them. `among` are the places that may be asked in place of a server."""
    server = os.environ.get("JOBMETER_SERVER", "http://127.0.0.1:8000")
    (among or parser).add_argument(
        "--server", default=server, metavar="URL", help="the server (JOBMETER_SERVER, or %(default)s)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=timeout_seconds,
        metavar="SECONDS",
        help=f"longest wait for the server ({timeout_seconds:g})",
    )
    parser.add_argument("--token-file", metavar="FILE", help="the token to show (or JOBMETER_TOKEN)")
    parser.add_argument("--ca", metavar="FILE", help="authority to trust besides those of the system")
    parser.add_argument("--certificate", metavar="FILE", help="client certificate to show")
    parser.add_argument("--key", metavar="FILE", help="its private key")


def endpoint_of(arguments: argparse.Namespace) -> Endpoint:
    """Where the server is; `fault()` of it says why it cannot be used."""
    return Endpoint(arguments.server, arguments.timeout, arguments.ca, arguments.certificate, arguments.key)


def shown_to(arguments: argparse.Namespace) -> Callable[[], Mapping[str, str]] | None:
    """The headers with the token that was given, None without one."""
    return bearer(os.environ.get("JOBMETER_TOKEN") or None, arguments.token_file)
