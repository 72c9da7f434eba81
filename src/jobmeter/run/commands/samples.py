"""`jobmeter samples JOB`: what a job or a node used over time, from a sample store, a server or Colmet's files.

Exit codes: 0 printed, 1 the store, server or file cannot be read, 2 wrong use or no such file, 4 nothing found: those
of the extractor that OAR's interface calls.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobmeter.contract import StoreUnavailable
from jobmeter.model.series import SampleQuestion, SampleTable
from jobmeter.peer import PeerAway, TlsFilesUnusable
from jobmeter.query.fault import BadQuery
from jobmeter.query.samples import moment_ns, span_ns
from jobmeter.run.samples.origin import ColmetFiles, Folder, Origin, OriginFaulty, OriginMissing, Server
from jobmeter.run.samples.print import curves, overview, rows
from jobmeter.run.server_options import add_server, endpoint_of, shown_to
from jobmeter.wire.sample_text import as_csv, as_json, as_lines

SUMMARY: str = "prints, plots and exports what a job used over time"

OK, FAILED, WRONG_USE, NOTHING = 0, 1, 2, 4


def declare(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("job", nargs="?", metavar="JOB", help="id of the job, or MANAGER/JOB or MANAGER/CLUSTER/JOB")
    where = parser.add_mutually_exclusive_group()
    add_server(parser, among=where, timeout_seconds=300.0)
    where.add_argument("--store", type=Path, metavar="DIR", help="the folder of a sample store on this machine")
    where.add_argument("--hdf5", metavar="FILE", help="a file of Colmet, or the first part of the names of several")
    parser.add_argument("--run", type=int, metavar="N", help="which run of the job, counted from 0")
    parser.add_argument("--node", metavar="NAME", help="of this node only; without a job: the node itself")
    parser.add_argument("--source", metavar="NAME", help="what this source read only")
    parser.add_argument("--metric", action="append", default=[], metavar="A,B", help="these metrics only")
    parser.add_argument("--involving", action="store_true", help="also what the nodes of the job say")
    parser.add_argument("--from", dest="begin", metavar="TIME", help="from then on: ISO 8601, or seconds since 1970")
    parser.add_argument("--to", dest="end", metavar="TIME", help="before then")
    parser.add_argument("--step", metavar="TIME", help="means and rates of such periods: 30s, 5m, 1h")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--table", action="store_true", help="print a line per time in place of one per metric")
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--lines", action="store_true", help="print JSON lines, one per time")
    form.add_argument("--csv", action="store_true", help="print CSV, a line per value")
    form.add_argument("--plot", action="store_true", help="draw curves in the terminal")
    form.add_argument("--png", type=Path, metavar="FILE", help="draw curves into a file; needs the extra plot")
    form.add_argument("--oar", action="store_true", help="print gzip of JSON as OAR's interface takes it")
    form.add_argument("--follow", action="store_true", help="print JSON lines as samples come, until stopped")


def execute(arguments: argparse.Namespace) -> int:
    """Print what was asked for."""
    try:
        question = question_of(arguments)
        origin = _origin(arguments)
    except (BadQuery, OriginFaulty, TlsFilesUnusable) as fault:
        return _say(str(fault), WRONG_USE)
    try:
        if arguments.follow:
            return _follow(origin, question)
        return _show(arguments, list(origin.tables(question)))
    except OriginMissing as fault:
        return _say(str(fault), WRONG_USE)
    except (OriginFaulty, StoreUnavailable, PeerAway, OSError) as fault:
        return _say(str(fault), FAILED)
    finally:
        origin.close()


def question_of(arguments: argparse.Namespace) -> SampleQuestion:
    """What the options ask. Raises BadQuery."""
    manager, cluster, job = _identity(arguments.job)
    metrics = tuple(name.strip() for given in arguments.metric for name in given.split(",") if name.strip())
    if job is None and arguments.node is None:
        raise BadQuery("", "name a job, or a node by --node")
    step_ns = None if arguments.step is None else span_ns("--step", arguments.step)
    begin = None if arguments.begin is None else moment_ns("--from", arguments.begin)
    end = None if arguments.end is None else moment_ns("--to", arguments.end)
    return SampleQuestion(
        manager=manager,
        cluster=cluster,
        job=job,
        run=arguments.run,
        node=arguments.node,
        source=arguments.source,
        metrics=metrics,
        from_ns=begin,
        to_ns=end,
        step_ns=step_ns,
        involving=arguments.involving,
        node_only=job is None,
    )


def _identity(text: str | None) -> tuple[str | None, str | None, str | None]:
    if text is None:
        return None, None, None
    parts = text.split("/", 2)
    if not all(parts):
        raise BadQuery("JOB", f"{text!r} is no JOB, MANAGER/JOB or MANAGER/CLUSTER/JOB")
    if len(parts) == 1:
        return None, None, parts[0]
    return parts[0], parts[1] if len(parts) == 3 else None, parts[-1]


def _origin(arguments: argparse.Namespace) -> Origin:
    if arguments.store is not None:
        return Folder(arguments.store)
    if arguments.hdf5 is not None:
        return ColmetFiles(arguments.hdf5)
    return Server(endpoint_of(arguments), shown_to(arguments))


def _show(arguments: argparse.Namespace, tables: list[SampleTable]) -> int:
    if not tables:
        return _say("there are no such samples", NOTHING)
    if arguments.png is not None:
        from jobmeter.run.samples.png import PlotNotInstalled, draw  # noqa: PLC0415 - Pillow, an extra

        try:
            arguments.png.write_bytes(draw(tables))
        except PlotNotInstalled as fault:
            return _say(str(fault), WRONG_USE)
        return OK
    pieces: Iterable[bytes]
    if arguments.json:
        pieces = [*as_json(tables), b"\n"]
    elif arguments.csv:
        pieces = as_csv(tables)
    elif arguments.lines:
        pieces = as_lines(tables)
    elif arguments.oar:
        pieces = [gzip.compress(json.dumps(by_metric(tables)).encode())]
    elif arguments.plot:
        pieces = (f"{line}\n".encode() for line in curves(tables, _width()))
    else:
        text = rows(tables) if arguments.table else overview(tables)
        pieces = (f"{line}\n".encode() for line in text)
    return _write(pieces)


def by_metric(tables: Sequence[SampleTable]) -> dict[str, list[Any]]:
    """What OAR's extractor prints: a list per metric, beside it those of times (whole seconds) and hosts."""
    found: dict[str, list[Any]] = {}
    for table in tables:
        found.setdefault("timestamp", []).extend(time_ns // 10**9 for time_ns in table.times_ns)
        found.setdefault("hostname", []).extend([table.series.node] * len(table.times_ns))
        for column in table.columns:
            found.setdefault(column.metric.name, []).extend(column.values)
    return found


def _follow(origin: Origin, question: SampleQuestion) -> int:
    with suppress(KeyboardInterrupt):
        for line in origin.follow(question):
            if (code := _write([line, b"\n"])) != OK:
                return code
    return OK


def _write(pieces: Iterable[bytes]) -> int:
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def _width() -> int:
    try:
        return max(os.get_terminal_size().columns, 40)
    except OSError:
        return 100


def _say(sentence: str, code: int) -> int:
    print(f"jobmeter: {sentence}", file=sys.stderr)  # noqa: T201
    return code
