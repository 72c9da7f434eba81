"""`jobmeter report month`: a month on one page, for those who pay for the facility.

For paper or PDF the page has a style of its own: print it from a browser. We bring no writer of PDF along.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from jobmeter.observe.host import SystemClock
from jobmeter.peer import TlsFilesUnusable
from jobmeter.report.month import Month
from jobmeter.report.monthly.page import lead, page
from jobmeter.report.monthly.sums import Monthly, Names, Sums, monthly, questions
from jobmeter.run.account import Account, AccountAway
from jobmeter.run.month_argument import month_argument
from jobmeter.run.server_options import add_server, endpoint_of, shown_to
from jobmeter.run.whole_file import whole_file

ABOUT = "core-hours, efficiency, energy and their course on one page of HTML"

OK, FAILED, WRONG_USE = 0, 1, 2


def options(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "--month", type=month_argument, metavar="YYYY-MM", help="the month; default: the one before this"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--html", action="store_true", help="write the page (default)")
    form.add_argument("--json", action="store_true", help="write the same numbers as JSON")
    form.add_argument("--text", action="store_true", help="print the month in two sentences")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write FILE, which appears only when complete")
    parser.add_argument("--title", default="", metavar="TEXT", help="the facility's name")
    parser.add_argument("--co2", type=float, metavar="KG", help="kilograms of carbon dioxide per kilowatt-hour")
    for name, default in (("cores", "Cores"), ("cpu", "TotalCPU"), ("energy", "Energy")):
        parser.add_argument(f"--{name}", default=default, metavar="NAME", help=f"component with it ({default})")
    add_server(parser)


def perform(arguments: argparse.Namespace) -> int:
    """0 when it is written, 1 when the server is away or the file cannot be written, 2 for wrong use."""
    endpoint = endpoint_of(arguments)
    if (fault := endpoint.fault()) is not None:
        return _say(fault, WRONG_USE)
    month = arguments.month or Month.of(SystemClock().now().replace(day=1) - timedelta(days=1))
    try:
        account = Account(endpoint, headers=shown_to(arguments))
    except TlsFilesUnusable as unusable:
        return _say(str(unusable), WRONG_USE)
    try:
        asked = questions(month, Names(arguments.cores, arguments.cpu, arguments.energy))
        first, second, third, fourth = (account.totals(question) for question in asked)
        report = monthly(month, (first, second, third, fourth))
        _write(_written(report, arguments).encode(), arguments.output)
    except (AccountAway, OSError) as fault_:
        return _say(str(fault_), FAILED)
    finally:
        account.close()
    return OK


def _written(report: Monthly, arguments: argparse.Namespace) -> str:
    if arguments.json:
        told = {
            "month": report.month,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "total": values(report.total),
            "sites": [{"name": name, **values(sums)} for name, sums in report.sites.items()],
            "groups": [{"name": name, **values(sums)} for name, sums in report.groups.items()],
            "months": [{"name": name, **values(sums)} for name, sums in report.course.items()],
        }
        return msgspec.json.encode(told).decode() + "\n"
    if arguments.text:
        return lead(report, arguments.co2) + "\n"
    return page(report, arguments.title, arguments.co2, datetime.now(UTC))


def values(sums: Sums) -> dict[str, int | float | None]:
    """Sums as JSON has them; what is not known is null."""
    return {
        "jobs": sums.jobs,
        "core_hours": sums.core_hours,
        "efficiency": sums.efficiency,
        "kilowatt_hours": sums.kilowatt_hours,
        "energy_jobs": sums.energy_jobs,
    }


def _write(body: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return
    with whole_file(output) as file:
        file.write(body)


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"jobmeter report month: {sentence}\n")
    return code
