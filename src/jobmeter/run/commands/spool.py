"""`jobmeter spool`: what a collector's spool holds, and what to do with its dead letters."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool, Status
from jobmeter.deliver.tally import COUNTERS
from jobmeter.model.letter import DeadLetter
from jobmeter.observe.host import SystemClock
from jobmeter.report.visible import visible
from jobmeter.run.records.text import table

SUMMARY: str = "shows a collector's spool; sends its dead letters again or drops them"

OK, FAILED, WRONG_USE = 0, 1, 2

_PAGE = 1000
_BODY_MAX_CHARACTERS = 200
_CURSOR_SHOWN = 400


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = _action(actions, "status", "print what waits, the dead letters, the cursors and all counters")
    status.add_argument("--check", action="store_true", help="read the whole file and tell whether it is sound")
    status.add_argument("--json", action="store_true", help="print JSON")
    letters = _action(actions, "letters", "print the dead letters, newest first")
    letters.add_argument("--limit", type=int, default=20, metavar="N", help="at most N (20)")
    letters.add_argument("--json", action="store_true", help="print JSON lines with the whole bodies")
    for name, does in (
        ("retry", "put refused records back into the queue, to be sent again"),
        ("drop", "throw dead letters away for good"),
    ):
        action = _action(actions, name, does)
        action.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="of a dead letter")
        action.add_argument("--all", action="store_true", help="every dead letter")
        action.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")


def execute(arguments: argparse.Namespace) -> int:
    """Do what the action says. 1 when the spool cannot be used or is damaged, 2 when there is none at the path."""
    if not arguments.spool.exists():
        return _say(f"there is no spool {arguments.spool}", WRONG_USE)
    if arguments.action in ("retry", "drop") and bool(arguments.numbers) == arguments.all:
        return _say("name the numbers of dead letters, or --all", WRONG_USE)
    try:
        # What the file may hold is set where it is filled; here it is only looked at and cleaned up.
        with Spool(arguments.spool, SpoolSettings(), SystemClock()) as spool:
            match arguments.action:
                case "status":
                    return _status(spool, arguments)
                case "letters":
                    return _letters(spool, arguments)
                case "retry":
                    return _retry(spool, arguments)
                case _:
                    return _drop(spool, arguments)
    except SpoolFault as fault:
        return _say(str(fault), FAILED)


def _status(spool: Spool, arguments: argparse.Namespace) -> int:
    if arguments.check:
        spool.verify()
    status = spool.status()
    if arguments.json:
        shown = {field: getattr(status, field) for field in status.__struct_fields__}
        _print(json.dumps({**shown, "path": str(status.path)}))
        return OK
    for line in _status_lines(status):
        _print(line)
    return OK


def _status_lines(status: Status) -> Iterator[str]:
    yield f"spool         {status.path}"
    oldest = "" if status.oldest_seconds is None else f", the oldest for {status.oldest_seconds} seconds"
    yield f"waiting       {status.entries} records, {status.entries_bytes} bytes{oldest}"
    yield f"dead letters  {status.letters}"
    for source, cursor in status.cursors.items():
        shown = cursor if len(cursor) <= _CURSOR_SHOWN else f"{cursor[:_CURSOR_SHOWN]}… ({len(cursor)} characters)"
        yield f"cursor        {visible(source)}: {visible(shown)}"
    for name, number in status.counters.items():
        yield f"{name:<13} {number}  {COUNTERS[name]}"


def _letters(spool: Spool, arguments: argparse.Namespace) -> int:
    letters = spool.letters(arguments.limit)
    if arguments.json:
        for letter in letters:
            _print(json.dumps(_as_json(letter)))
        return OK
    rows = (
        (
            str(letter.number),
            letter.received.isoformat(" ", "seconds"),
            letter.origin,
            str(letter.size_bytes),
            letter.reason,
            _text(letter)[:_BODY_MAX_CHARACTERS],
        )
        for letter in letters
    )
    for line in table(("NUMBER", "RECEIVED", "FROM", "BYTES", "REASON", "BODY"), rows):
        _print(line)
    return OK


def _retry(spool: Spool, arguments: argparse.Namespace) -> int:
    numbers = _numbers(spool, arguments)
    done = spool.sendable(numbers) if arguments.dry_run else spool.retry(numbers)
    _print(f"{'would put back' if arguments.dry_run else 'put back'} {len(done)} of {len(numbers)} dead letters")
    for number in sorted(set(numbers) - set(done)):
        _print(f"{number} is not there, or was never a record: only collecting its time again can mend it")
    return OK if arguments.all or len(done) == len(numbers) else FAILED


def _drop(spool: Spool, arguments: argparse.Namespace) -> int:
    numbers = _numbers(spool, arguments)
    there = set(_every_number(spool)) & set(numbers)
    gone = len(there) if arguments.dry_run else spool.discard(numbers)
    _print(f"{'would drop' if arguments.dry_run else 'dropped'} {gone} of {len(numbers)} dead letters")
    return OK if gone == len(numbers) else FAILED


def _numbers(spool: Spool, arguments: argparse.Namespace) -> list[int]:
    return list(_every_number(spool)) if arguments.all else sorted(set(arguments.numbers))


def _every_number(spool: Spool) -> Iterator[int]:
    before = None
    while letters := spool.letters(_PAGE, before):
        numbers = [letter.number for letter in letters if letter.number is not None]
        yield from numbers
        before = min(numbers)


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "number": letter.number,
        "received": letter.received.isoformat(),
        "origin": letter.origin,
        "reason": letter.reason,
        "size_bytes": letter.size_bytes,
        "body": _text(letter),
    }


def _text(letter: DeadLetter) -> str:
    return letter.body.decode("utf-8", "backslashreplace")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"jobmeter spool: {text}\n")
    return code


def _action(actions: Any, name: str, does: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=does, description=does)
    parser.add_argument("spool", type=Path, metavar="FILE", help="the spool's file")
    return parser
