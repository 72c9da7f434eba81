"""`jobmeter report apel publish | republish | history | retry`: messages to APEL, in place of AUDITOR's plugin."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import msgspec

from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.outbox import Outbox, Parcel
from jobmeter.observe.host import SystemClock
from jobmeter.peer import TlsFilesUnusable
from jobmeter.report.apel.plan import Unsummable, plan
from jobmeter.report.apel.settings import Config, not_offered
from jobmeter.report.month import Month
from jobmeter.run.account import AccountAway
from jobmeter.run.apel.author import Report
from jobmeter.run.apel.reporter import Reporter, tell_left_out
from jobmeter.run.log import log_to_file, set_level
from jobmeter.run.month_argument import month_argument
from jobmeter.settings.fault import Fault, SettingsFaulty
from jobmeter.settings.load import load

ABOUT = "summaries and job messages for APEL"
SETTINGS: str = "jobmeter.report.apel.settings:Config"

HISTORY_DEFAULT = 50
_LEVELS = {"warning": "warn", "critical": "error"}

log = logging.getLogger("jobmeter.report")


def options(parser: argparse.ArgumentParser) -> None:
    """The actions with their arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    publish = actions.add_parser("publish", help="report what is new or changed, again and again")
    publish.add_argument("--once", action="store_true", help="report now, deliver, and end")
    republish = actions.add_parser("republish", help="report months of a site again, as they are now")
    republish.add_argument("-s", "--site", required=True, help="the site, by its name in the GOCDB")
    republish.add_argument("-y", "--year", type=int, help="with -m: the year")
    republish.add_argument("-m", "--month", type=int, help="with -y: the month, 1 to 12")
    republish.add_argument("--begin-date", type=_moment, metavar="TIME", help="or all months from this one on, …")
    republish.add_argument("--end-date", type=_moment, metavar="TIME", help="… to this one; whole months are sent")
    history = actions.add_parser("history", help="what was sent, when, and what became of it")
    history.add_argument("--limit", type=int, default=HISTORY_DEFAULT, help="how many messages, the newest first (50)")
    history.add_argument("--json", action="store_true", help="print JSON lines")
    history.add_argument("--text", action="store_true", help="print the text of each message, too, as it was signed")
    history.add_argument("-m", "--month", type=month_argument, metavar="YYYY-MM", help="only what is about this month")
    retry = actions.add_parser("retry", help="send again what the messaging service rejected")
    for action in (publish, republish):
        action.add_argument("--dry-run", action="store_true", help="print the messages; send and remember nothing")
    for action in (publish, republish, retry):
        action.add_argument(
            "--deliver-seconds", type=float, default=300.0, metavar="N", help="how long to try to deliver (300)"
        )
    for action in (publish, republish, history, retry):
        action.add_argument("-c", "--config", required=True, type=Path, help="AUDITOR's YAML, either generation")


def perform(arguments: argparse.Namespace) -> int:
    """0 when all is accepted or shown; 1 when something could not be reported or waits; 2 for wrong use or settings."""
    config = load(Config, file=arguments.config, environment=os.environ, prefix="JOBMETER_APEL_").settings
    _start_logging(config, arguments)
    _check(config, arguments)
    reporter = Reporter(config, SystemClock(), arguments.deliver_seconds if "deliver_seconds" in arguments else 0.0)
    try:
        match arguments.action:
            case "publish":
                return _publish(reporter, arguments)
            case "republish":
                return _republish(reporter, arguments)
            case "history":
                return _history(reporter, arguments)
            case _:
                return reporter.retry()
    except (AccountAway, TlsFilesUnusable, SpoolFault, OSError) as fault:
        log.error("apel.failed reason=%r", str(fault))  # noqa: TRY400 - a state of affairs, no bug
        return 1
    finally:
        reporter.close()


def _check(config: Config, arguments: argparse.Namespace) -> None:
    """Raise SettingsFaulty when the action cannot be done with this configuration."""
    place = str(arguments.config)
    missing = [] if arguments.action == "history" else not_offered(config)
    if getattr(arguments, "dry_run", False):
        missing = [sentence for sentence in missing if not sentence.startswith("messaging")]
    if missing:
        raise SettingsFaulty([Fault(place, "", sentence) for sentence in missing])
    try:
        if config.summary_fields is not None and not config.reports_jobs:
            plan(config)
    except Unsummable as fault:
        raise SettingsFaulty([Fault(place, "summary_fields", str(fault))]) from None


def _publish(reporter: Reporter, arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        return _print(reporter.planned(None, tuple(reporter.config.site.sites_to_report), again=False))
    return reporter.run(once=arguments.once)


def _republish(reporter: Reporter, arguments: argparse.Namespace) -> int:
    months = _months(arguments)
    if isinstance(months, str) or arguments.site not in reporter.config.site.sites_to_report:
        known = ", ".join(reporter.config.site.sites_to_report)
        said = months if isinstance(months, str) else f"there is no site {arguments.site!r}; there are: {known}"
        sys.stderr.write(f"jobmeter report apel republish: {said}\n")
        return 2
    if arguments.dry_run:
        return _print(reporter.planned(months, (arguments.site,), again=True))
    return 0 if reporter.report(months, (arguments.site,), again=True) else 1


def _months(arguments: argparse.Namespace) -> list[Month] | str:
    by_month, by_dates = (arguments.year, arguments.month), (arguments.begin_date, arguments.end_date)
    if None not in by_month and by_dates == (None, None):
        if not (1 <= arguments.month <= 12 and 1970 <= arguments.year <= 9998):
            return f"there is no month {arguments.month} of {arguments.year}"
        return [Month(arguments.year, arguments.month)]
    if None not in by_dates and by_month == (None, None):
        if arguments.end_date <= arguments.begin_date:
            return "--end-date is not after --begin-date"
        last = arguments.end_date - timedelta(microseconds=1)
        return list(Month.of(arguments.begin_date).until(Month.of(last)))
    return "say which months: -y YEAR -m MONTH, or --begin-date and --end-date"


def _history(reporter: Reporter, arguments: argparse.Namespace) -> int:
    if not reporter.outbox_file.exists():
        sys.stderr.write(f"nothing was reported yet: there is no {reporter.outbox_file}\n")
        return 0
    with reporter.open_outbox() as outbox:
        for parcel in _chosen(outbox, arguments):
            text = outbox.body(parcel.number).decode("ascii") if arguments.text else None
            line = _as_json(parcel, text) if arguments.json else _as_line(parcel)
            sys.stdout.write(f"{line}\n")
            if text is not None and not arguments.json:
                sys.stdout.write(f"sha256 {parcel.digest}\n{text}")
    return 0


def _chosen(outbox: Outbox, arguments: argparse.Namespace) -> Iterator[Parcel]:
    """The newest messages, as many as are asked for."""
    if arguments.month is None:
        yield from outbox.history(max(1, arguments.limit))
        return
    about = (each for each in outbox.history(-1) if each.key[2][:7] == str(arguments.month))
    yield from islice(about, max(1, arguments.limit))


def _as_json(parcel: Parcel, text: str | None) -> str:
    told = {name: value for name, value in msgspec.to_builtins(parcel).items() if name != "said"}
    return msgspec.json.encode(told if text is None else {**told, "text": text}).decode()


def _as_line(parcel: Parcel) -> str:
    when = parcel.settled or parcel.made
    counts = " ".join(f"{name}={count}" for name, count in parcel.about.items())
    said = f"id {parcel.receipt}" if parcel.receipt else parcel.reason
    part = f" {parcel.part + 1}/{parcel.parts}" if parcel.parts > 1 else ""
    return (
        f"{when:%Y-%m-%dT%H:%M:%SZ} {parcel.state.value:<10} {' '.join(parcel.key[1:])}{part} {counts} {said}".rstrip()
    )


def _print(reports: Iterator[Report]) -> int:
    code = 0
    for report in reports:
        tell_left_out(report)
        code = 1 if report.unsendable else code
        for message in report.messages:
            sys.stdout.write(f"{message.text}\n")
    return code


def _start_logging(config: Config, arguments: argparse.Namespace) -> None:
    if arguments.log_level is None:
        set_level(_LEVELS.get(config.plugin.log_level, config.plugin.log_level))
    if config.plugin.log_file is not None:
        log_to_file(Path(config.plugin.log_file))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
