"""`jobmeter reconcile`: whether what the sources had is stored, per day, and published, per month; and the gaps."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from typing import Any
from urllib.parse import urlencode

from jobmeter.observe.host import SystemClock
from jobmeter.peer import Peer, PeerAway, TlsFilesUnusable
from jobmeter.report.visible import visible
from jobmeter.run.records.text import table
from jobmeter.run.server_options import add_server, endpoint_of, shown_to

SUMMARY: str = "compares what the sources had with what is stored, and that with what was published"

OK, FAILED, WRONG_USE = 0, 1, 2

_MONTH_HEADS = ("MONTH", "PUBLISHED AS", "SITES", "STORED", "PUBLISHED", "LEFT OUT", "NOT RUN", "GAP")
_HEADS = ("SOURCE", "DAY", "SEEN", "STORED", "DEAD", "IGNORED", "WAITING", "GAP")


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--since", type=_day, metavar="DAY", help="the first day (UTC); 31 days before --until")
    parser.add_argument("--until", type=_day, metavar="DAY", help="the day behind the last; default: tomorrow")
    parser.add_argument("--source", metavar="NAME", help="this job source only, such as slurm")
    parser.add_argument("--gaps", action="store_true", help="only days and months with a gap")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_server(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Ask and print. 0 without a gap, 1 when a day or a month has one or the server is away, 2 for a wrong option."""
    endpoint = endpoint_of(arguments)
    if (fault := endpoint.fault()) is not None:
        return _say(fault, WRONG_USE)
    asked = {
        key: getattr(arguments, key) for key in ("since", "until", "source") if getattr(arguments, key) is not None
    }
    try:
        peer = Peer(endpoint, headers=shown_to(arguments))
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
    days, months = ([line for line in found[name] if line["gap"]] for name in ("days", "months"))
    shown = {**found, "days": days, "months": months} if arguments.gaps else found
    if arguments.json:
        sys.stdout.write(f"{json.dumps(shown)}\n")
    else:
        _print(shown)
        _tell_gaps(days, months)
    return FAILED if days or any(map(_is_over, months)) else OK


def _is_over(line: dict[str, Any]) -> bool:
    """Whether the month has ended: of the present one more is stored than was published yet."""
    return bool(line["month"] < SystemClock().now().strftime("%Y-%m"))


def _print(found: dict[str, Any]) -> None:
    keys = ("source", "day", "seen", "stored", "dead", "ignored", "waiting", "gap")
    for text in table(_HEADS, ([_cell(line[key]) for key in keys] for line in found["days"])):
        sys.stdout.write(f"{text}\n")
    for one in found["collectors"]:
        sys.stdout.write(
            f"{visible(one['source'])} was last seen {one['last_seen']}: {one['waiting']} waiting, "
            f"{one['dead_letters']} dead letters\n"
        )
    if found["months"]:
        keys = ("month", "site", "of_sites", "stored", "published", "unfit", "unrun", "gap")
        sys.stdout.write("\n")
        for text in table(_MONTH_HEADS, ([_cell(line[key]) for key in keys] for line in found["months"])):
            sys.stdout.write(f"{text}\n")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return visible(", ".join(value))
    return "?" if value is None else visible(str(value))


def _tell_gaps(days: list[dict[str, Any]], months: list[dict[str, Any]]) -> None:
    for line in days:
        what = f"{line['gap']} seen and not stored" if line["gap"] > 0 else f"{-line['gap']} stored and not seen"
        sys.stdout.write(f"gap: {visible(line['source'])} {line['day']}: {what}\n")
    for line in months:
        gap, yet = line["gap"], "" if _is_over(line) else " yet"
        what = f"{gap} stored and not published{yet}" if gap > 0 else f"{-gap} published and not stored"
        sys.stdout.write(f"gap: {visible(line['site'])} {line['month']}: {what}\n")
    counts = (len(days), "days"), (sum(map(_is_over, months)), "months")
    told = " and ".join(f"{count} {what}" for count, what in counts if count)
    sys.stdout.write(f"{told} with a gap\n" if told else "no gaps\n")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day, such as 2024-01-31") from None


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"jobmeter reconcile: {text}\n")
    return code
