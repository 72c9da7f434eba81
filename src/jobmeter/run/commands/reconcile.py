"""`jobmeter reconcile`: whether what the sources had is stored, per source and day, and where there are gaps."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import date
from typing import Any
from urllib.parse import urlencode

from jobmeter.peer import Endpoint, Peer, PeerAway, TlsFilesUnusable
from jobmeter.run.records.text import table, visible

SUMMARY: str = "compares what the sources had with what is stored, per source and day"

OK, FAILED, WRONG_USE = 0, 1, 2

_HEADS = ("SOURCE", "DAY", "SEEN", "STORED", "DEAD", "IGNORED", "WAITING", "GAP")


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--since", type=_day, metavar="DAY", help="the first day (UTC); 31 days before --until")
    parser.add_argument("--until", type=_day, metavar="DAY", help="the day behind the last; default: tomorrow")
    parser.add_argument("--source", metavar="NAME", help="this job source only, such as slurm")
    parser.add_argument("--gaps", action="store_true", help="only days with a gap")
    parser.add_argument("--json", action="store_true", help="print JSON")
    server = os.environ.get("JOBMETER_SERVER", "http://127.0.0.1:8000")
    parser.add_argument("--server", default=server, metavar="URL", help="the server (JOBMETER_SERVER, or %(default)s)")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="longest wait for it (60)")
    parser.add_argument("--ca", metavar="FILE", help="authority to trust besides those of the system")
    parser.add_argument("--certificate", metavar="FILE", help="client certificate to show")
    parser.add_argument("--key", metavar="FILE", help="its private key")


def execute(arguments: argparse.Namespace) -> int:
    """Ask and print. 0 when no day has a gap, 1 when one has or the server is away, 2 for a wrong option."""
    endpoint = Endpoint(arguments.server, arguments.timeout, arguments.ca, arguments.certificate, arguments.key)
    if (fault := endpoint.fault()) is not None:
        return _say(fault, WRONG_USE)
    asked = {
        key: getattr(arguments, key) for key in ("since", "until", "source") if getattr(arguments, key) is not None
    }
    try:
        peer = Peer(endpoint)
        answer = peer.exchange("GET", f"/v2/reconciliation?{urlencode(asked)}")
        peer.close()
    except TlsFilesUnusable as unusable:
        return _say(str(unusable), WRONG_USE)
    except PeerAway as away:
        return _say(str(away), FAILED)
    if answer.status != 200:
        told = answer.body[:500].decode("utf-8", "replace")
        return _say(f"status {answer.status}: {visible(told)}", WRONG_USE if answer.status == 400 else FAILED)
    found: dict[str, Any] = json.loads(answer.body)
    gaps = [line for line in found["days"] if line["gap"]]
    if arguments.json:
        sys.stdout.write(f"{json.dumps({**found, 'days': gaps} if arguments.gaps else found)}\n")
    else:
        _print(gaps if arguments.gaps else found["days"], gaps, found["collectors"])
    return FAILED if gaps else OK


def _print(lines: list[dict[str, Any]], gaps: list[dict[str, Any]], collectors: list[dict[str, Any]]) -> None:
    keys = ("source", "day", "seen", "stored", "dead", "ignored", "waiting", "gap")
    rows = (["?" if line[key] is None else visible(str(line[key])) for key in keys] for line in lines)
    for text in table(_HEADS, rows):
        sys.stdout.write(f"{text}\n")
    for one in collectors:
        sys.stdout.write(
            f"{visible(one['source'])} was last seen {one['last_seen']}: {one['waiting']} waiting, "
            f"{one['dead_letters']} dead letters\n"
        )
    for line in gaps:
        what = f"{line['gap']} seen and not stored" if line["gap"] > 0 else f"{-line['gap']} stored and not seen"
        sys.stdout.write(f"gap: {visible(line['source'])} {line['day']}: {what}\n")
    sys.stdout.write("no gaps\n" if not gaps else f"{len(gaps)} days with a gap\n")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day, such as 2024-01-31") from None


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"jobmeter reconcile: {text}\n")
    return code
