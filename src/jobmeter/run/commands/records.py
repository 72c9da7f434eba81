"""`jobmeter records`: query, show, export, add and correct records of a server from the terminal.

Every answer is read to its marked end. One that breaks off ends the command with exit code 1 and a message: what was
printed until then is not all.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from jobmeter.peer import Peer, PeerAway, Reply, TlsFilesUnusable
from jobmeter.report.visible import visible
from jobmeter.run.records.answer import FAILED, OK, WRONG_USE, Refusal, decoded_objects, reason, refusal, write_lines
from jobmeter.run.records.changing import conflicts, correct, verify, versions, withdraw
from jobmeter.run.records.question import add_as_of, add_question, moment, one_record, query_of
from jobmeter.run.records.text import TABLE_HEADS, details, table, table_row
from jobmeter.run.server_options import add_server, endpoint_of, shown_to
from jobmeter.run.whole_file import whole_file
from jobmeter.wire.json_stream import BadStream, objects
from jobmeter.wire.record_csv import CSV_COLUMNS, CSV_LINE_END, known_column, write_csv

SUMMARY: str = "queries, exports, adds and corrects records of a server"

_LIST_DEFAULT = "sort_by[desc]=stop_time&limit=50"
_PROGRESS_EVERY_SECONDS = 0.5
_NO_END = "the server does not mark the end of its answer, so nobody can tell whether it is whole"
PARQUET = "application/vnd.apache.parquet"


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    found = _action(actions, "list", "print a table of records, the 50 that stopped last unless told otherwise")
    add_question(found)
    shown = _action(actions, "show", "print one record")
    shown.add_argument("record_id", metavar="ID")
    add_as_of(shown)
    exported = _action(actions, "export", "write records as JSON lines, CSV or Parquet")
    add_question(exported)
    form = exported.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="write CSV in place of JSON lines")
    form.add_argument(
        "--parquet", action="store_true", help="write Parquet with typed columns, made by the server; needs --output"
    )
    exported.add_argument(
        "--columns",
        type=_columns,
        default=CSV_COLUMNS,
        metavar="A,B,C",
        help=f"of the CSV: {','.join(CSV_COLUMNS)}, also meta.KEY, component.NAME and score.COMPONENT.NAME",
    )
    exported.add_argument(
        "--exact", action="store_true", help="in the CSV, do not put ' before cells that spreadsheets take for formulas"
    )
    exported.add_argument("--output", type=Path, metavar="FILE", help="write FILE, which appears only when complete")
    added = _action(actions, "add", "send the records of a file and say what became of each")
    added.add_argument("file", metavar="FILE", help="JSON lines or a JSON array; - reads standard input")
    stopped = _action(actions, "stop", "set the stop time of a record")
    stopped.add_argument("record_id", metavar="ID")
    stopped.add_argument("time", type=moment, metavar="TIME", help="UTC unless it says its zone")
    letters = _action(actions, "dead-letters", "print what the server refused for good, newest first")
    letters.add_argument("--limit", type=int, default=20, metavar="N", help="at most N (20)")
    _declare_changes(actions)


def _declare_changes(actions: Any) -> None:
    kept = _action(actions, "versions", "print what a record was before each change, with who changed it, when and why")
    kept.add_argument("record_id", metavar="ID")
    corrected = _action(actions, "correct", "replace a stored record; what it was is kept")
    corrected.add_argument("file", metavar="FILE", help="the record as it is to be, a JSON object; - reads it")
    corrected.add_argument("--why", required=True, metavar="TEXT", help="the reason, which is kept")
    withdrawn = _action(actions, "withdraw", "take a record out of the account; what it was is kept")
    withdrawn.add_argument("record_id", metavar="ID")
    withdrawn.add_argument("--why", required=True, metavar="TEXT", help="the reason, which is kept")
    disputed = _action(actions, "conflicts", "print records sent with the id of another, or decide about one")
    disputed.add_argument("number", nargs="?", type=int, metavar="NUMBER", help="the one to decide about")
    disputed.add_argument("decision", nargs="?", choices=("keep", "take"), help="keep the stored one or take this")
    disputed.add_argument("--why", metavar="TEXT", help="the reason, which is kept")
    disputed.add_argument("--decided", action="store_true", help="print those that were decided")
    disputed.add_argument("--limit", type=int, default=100, metavar="N", help="at most N (100)")
    _action(actions, "verify", "have the server check that no kept version was changed or taken out")


def execute(arguments: argparse.Namespace) -> int:
    """Do what the action says. 1 when the server is away or says no, or an answer broke off; 2 for a wrong option."""
    endpoint = endpoint_of(arguments)
    if (fault := endpoint.fault()) is not None:
        return _say(fault, WRONG_USE)
    try:
        peer = Peer(endpoint, headers=shown_to(arguments))
    except TlsFilesUnusable as unusable:
        return _say(str(unusable), WRONG_USE)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode shows escapes
    try:
        return _ACTIONS[arguments.action](arguments, peer)
    except argparse.ArgumentTypeError as fault:
        return _say(str(fault), WRONG_USE)
    except Refusal as fault:
        return _say(str(fault), fault.code)
    except (PeerAway, BadStream) as fault:
        return _say(f"{fault}; what was printed until here, if anything, is not all", FAILED)
    finally:
        peer.close()


def _list(arguments: argparse.Namespace, peer: Peer) -> int:
    with _answered(peer, query_of(arguments, _LIST_DEFAULT)) as records:
        if arguments.json:
            write_lines((_json_line(text) for text, _ in records), sys.stdout)
        else:
            write_lines(table(TABLE_HEADS, (table_row(record) for _, record in records)), sys.stdout)
    return OK


def _show(arguments: argparse.Namespace, peer: Peer) -> int:
    with _answered(peer, one_record(arguments.record_id, arguments.as_of)) as records:
        found = list(records)
    if not found:
        return _say(f"there is no record {visible(arguments.record_id)}", FAILED)
    write_lines((_json_line(text) for text, _ in found) if arguments.json else details(found[0][1]), sys.stdout)
    return OK


def _export(arguments: argparse.Namespace, peer: Peer) -> int:
    if arguments.parquet:
        return _export_parquet(arguments, peer)
    with _answered(peer, query_of(arguments, "")) as records, _output(arguments.output) as output:
        counted = _progress(records)
        if arguments.csv:
            shown = _Shown(output) if output.isatty() else output
            write_csv((record for _, record in counted), arguments.columns, shown, exact=arguments.exact)
        else:
            write_lines((_json_line(text) for text, _ in counted), output)
    return OK


def _export_parquet(arguments: argparse.Namespace, peer: Peer) -> int:
    if arguments.output is None:
        return _say("Parquet is no text: give --output FILE", WRONG_USE)
    query = query_of(arguments, "")
    path = f"/v2/records?{query}" if query else "/v2/records"
    with peer.open("GET", path, accept=PARQUET) as reply:
        if reply.status != 200:
            raise refusal(reply.status, reply.whole())
        with whole_file(arguments.output) as file:
            for piece in reply.pieces():
                file.write(piece)
            if not reply.has_end:
                raise BadStream(_NO_END)
    return OK


def _add(arguments: argparse.Namespace, _: Peer) -> int:
    from jobmeter.run.records.adding import add, sink_settings_of  # noqa: PLC0415 - only here are they needed

    try:
        body = sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes()
    except OSError as fault:
        return _say(f"{arguments.file}: {fault.strerror}", WRONG_USE)
    return add(body, sink_settings_of(arguments), as_json=arguments.json)


def _stop(arguments: argparse.Namespace, peer: Peer) -> int:
    change = {"record_id": arguments.record_id, "components": [], "stop_time": arguments.time.isoformat()}
    answer = peer.exchange("PUT", "/record", json.dumps(change).encode())
    if answer.status != 200:
        raise Refusal(f"status {answer.status}: {reason(answer.body)}")
    return OK


def _dead_letters(arguments: argparse.Namespace, peer: Peer) -> int:
    letters = decoded_objects(peer.exchange("GET", f"/v2/dead-letters?limit={arguments.limit}"))
    if arguments.json:
        write_lines((json.dumps(letter) for letter in letters), sys.stdout)
        return OK
    heads = ("NUMBER", "RECEIVED", "FROM", "BYTES", "REASON", "BODY")
    keys = ("number", "received", "origin", "size_bytes", "reason", "body")
    rows = (["-" if letter.get(key) is None else str(letter[key])[:200] for key in keys] for letter in letters)
    write_lines(table(heads, rows), sys.stdout)
    return OK


_ACTIONS = {
    "versions": versions,
    "correct": correct,
    "withdraw": withdraw,
    "conflicts": conflicts,
    "verify": verify,
    "list": _list,
    "show": _show,
    "export": _export,
    "add": _add,
    "stop": _stop,
    "dead-letters": _dead_letters,
}


@contextmanager
def _answered(peer: Peer, query: str) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """The records that the server answers, as text and value. Raises Refusal; reading, PeerAway and BadStream."""
    with peer.open("GET", f"/records?{query}" if query else "/records") as reply:
        if reply.status != 200:
            raise refusal(reply.status, reply.whole())
        yield _complete(reply)


def _complete(reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from objects(reply.pieces())
    if not reply.has_end:
        raise BadStream(_NO_END)


def _progress(records: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pass the records on and count them on standard error where a person looks on."""
    shown = sys.stderr.isatty()
    told = time.monotonic()
    number = 0
    for number, record in enumerate(records, 1):
        if shown and time.monotonic() - told >= _PROGRESS_EVERY_SECONDS:
            told = time.monotonic()
            sys.stderr.write(f"\r{number:,} records")
        yield record
    if shown:
        sys.stderr.write(f"\r{number:,} records\n")


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that gets its name only when all was written."""
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        return
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        yield text
        text.flush()
        text.detach()


def _json_line(text: str) -> str:
    """A JSON object on one line, with nothing in it that drives a terminal."""
    return text if text.isprintable() else json.dumps(json.loads(text))


class _Shown:
    """A terminal to which rows of CSV are written."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def write(self, text: str) -> object:
        return self._terminal.write(f"{visible(text.removesuffix(CSV_LINE_END))}\n")


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"jobmeter records: {text}\n")
    return code


def _action(actions: Any, name: str, does: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=does, description=does)
    add_server(parser)
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    return parser


def _columns(text: str) -> Sequence[str]:
    names = text.split(",")
    for name in names:
        if not known_column(name):
            raise argparse.ArgumentTypeError(f"{name!r} is no column")
    return names
