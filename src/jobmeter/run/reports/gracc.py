"""`jobmeter report gracc`: finished jobs of a month as raw usage records of GRACC, a JSON object a line."""

from __future__ import annotations

import argparse
import socket
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from jobmeter.model.question import Bound, Op, Question, Scope
from jobmeter.model.record import microseconds
from jobmeter.peer import TlsFilesUnusable
from jobmeter.report.gracc.record import Told, usage_record
from jobmeter.run.account import Account, AccountAway
from jobmeter.run.month_argument import month_argument
from jobmeter.run.server_options import add_server, endpoint_of, shown_to
from jobmeter.run.whole_file import whole_file

ABOUT = "finished jobs of a month as raw usage records of GRACC"

OK, FAILED, WRONG_USE = 0, 1, 2


def options(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "--month", type=month_argument, required=True, metavar="YYYY-MM", help="jobs that ended in this month"
    )
    parser.add_argument("--probe", default=f"jobmeter:{socket.getfqdn()}", metavar="NAME", help="name of the probe")
    parser.add_argument("--vo", metavar="NAME", help="virtual organisation of jobs whose record has none")
    parser.add_argument("--vo-key", default="voms", metavar="KEY", help="meta key that has it (voms)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write FILE, which appears only when complete")
    add_server(parser)


def perform(arguments: argparse.Namespace) -> int:
    """0 when all is written, 1 when the server is away or the answer broke off, 2 for wrong use."""
    endpoint = endpoint_of(arguments)
    if (fault := endpoint.fault()) is not None:
        return _say(fault, WRONG_USE)
    try:
        account = Account(endpoint, headers=shown_to(arguments))
    except TlsFilesUnusable as unusable:
        return _say(str(unusable), WRONG_USE)
    try:
        if arguments.output is None:
            _write(account, arguments, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            with whole_file(arguments.output) as file:
                _write(account, arguments, file)
    except (AccountAway, OSError) as fault_:
        return _say(f"{fault_}; what was written until here, if anything, is not all", FAILED)
    finally:
        account.close()
    return OK


def _write(account: Account, arguments: argparse.Namespace, file: BinaryIO) -> None:
    period = arguments.month.period
    bounds = (Bound(Op.GTE, microseconds(period.start)), Bound(Op.LT, microseconds(period.stop)))
    told = Told(arguments.probe, arguments.vo, arguments.vo_key)
    for record in account.records(Question(Scope.everything(), stop_time=bounds)):
        if (found := usage_record(record, told)) is not None:
            file.write(msgspec.json.encode(found) + b"\n")


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"jobmeter report gracc: {sentence}\n")
    return code
