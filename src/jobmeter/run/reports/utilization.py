"""`jobmeter report utilization`: a month's usage as CSV and by mail, in place of AUDITOR's plugin."""

from __future__ import annotations

import argparse
import logging
import os
import smtplib
import ssl
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from jobmeter.contract import Clock
from jobmeter.model.period import Period
from jobmeter.observe.host import SystemClock
from jobmeter.peer import Endpoint
from jobmeter.report.month import Month
from jobmeter.report.utilization.month import CORES, CPU, ENERGY, following, questions, usage_lines
from jobmeter.report.utilization.settings import Settings
from jobmeter.report.utilization.table import Line, as_csv, as_html, notes
from jobmeter.report.visible import visible
from jobmeter.run.account import Account, AccountAway
from jobmeter.run.collector.daemon import Stopper
from jobmeter.run.exposition import write
from jobmeter.run.log import log_to_file, set_level
from jobmeter.settings.fault import Fault, SettingsFaulty
from jobmeter.settings.load import load

ABOUT = "core-hours, efficiency, energy and carbon dioxide of a month"
SETTINGS: str = "jobmeter.report.utilization.settings:Settings"
SUBJECT = "Monthly Utilisation Report"

_LEVELS = {"warning": "warn", "critical": "error"}
_MAIL_VARIABLES = ("SENDER_EMAIL", "PASSWORD", "RECEIVER_EMAIL")

log = logging.getLogger("jobmeter.report")


def options(parser: argparse.ArgumentParser) -> None:
    """The arguments, those of AUDITOR's plugin among them."""
    parser.add_argument("-c", "--config", required=True, type=Path, help="AUDITOR's YAML, or TOML")
    parser.add_argument("--month", type=int, help="with --year: the month, 1 to 12; default: the one before this")
    parser.add_argument("--year", type=int, help="with --month: the year")
    parser.add_argument("--oneshot", action="store_true", help="report once, and end")
    parser.add_argument("--dry-run", action="store_true", help="print the table; write and send nothing")
    parser.add_argument("--json", action="store_true", help="with --dry-run: print JSON lines")
    parser.add_argument("--host", help="address of the one server to ask")
    parser.add_argument("--port", type=int, help="its port")
    parser.add_argument("--interval", type=int, metavar="SECONDS", help="from one report to the next")
    parser.add_argument("--timeout", type=int, metavar="SECONDS", help="how long an answer may take")
    parser.add_argument("--save_data", action="store_true", help="accepted: the file is always written")


def perform(arguments: argparse.Namespace) -> int:
    """0 when every server's report is made, or after a signal; 1 when one is not; 2 for wrong use or settings."""
    if (arguments.month is None) != (arguments.year is None):
        sys.stderr.write("jobmeter report utilization: --month and --year go together\n")
        return 2
    if arguments.month is not None and not (1 <= arguments.month <= 12 and 1970 <= arguments.year <= 9998):
        sys.stderr.write(f"jobmeter report utilization: there is no month {arguments.month} of {arguments.year}\n")
        return 2
    loaded = load(Settings, file=arguments.config, environment=os.environ, prefix="JOBMETER_UTILIZATION_")
    settings = _adjusted(loaded.settings, arguments)
    if arguments.log_level is None:
        set_level(_LEVELS.get(settings.logging.level, settings.logging.level))
    if settings.logging.file is not None:
        log_to_file(Path(settings.logging.file))
    for note in loaded.notes:
        log.warning("settings.note %s", note)
    _check_mail(settings, arguments)
    return _run(settings, SystemClock(), arguments)


def _run(settings: Settings, clock: Clock, arguments: argparse.Namespace) -> int:
    stopper = Stopper()
    with stopper.installed():
        while True:
            done = [_reported(settings, place, clock.now(), arguments) for place in range(len(settings.auditor.hosts))]
            if arguments.oneshot or settings.oneshot or arguments.dry_run or arguments.month is not None:
                return 0 if all(done) else 1
            if stopper.stop.wait(settings.utilization.interval):
                return 0


def _reported(settings: Settings, place: int, now: datetime, arguments: argparse.Namespace) -> bool:
    """One server's report; a server that is away keeps no other from being asked."""
    host = settings.auditor.hosts[place]
    month = Month(arguments.year, arguments.month) if arguments.month is not None else _before(now)
    try:
        found = asked(settings, place, month, now)
        if arguments.dry_run:
            _print(found, as_json=arguments.json)
            return True
        file = (
            Path(settings.utilization.file_path)
            / f"{settings.utilization.file_name}_{host}_{month.number}_{month.year}.csv"
        )
        write(as_csv(found), file)
        log.info("utilization.written file=%s lines=%d", file, len(found))
    except (AccountAway, OSError) as fault:
        log.error("utilization.failed host=%s month=%s reason=%r", host, month, str(fault))  # noqa: TRY400
        return False
    return not settings.email.enable_email_report or _mailed(settings, f"{SUBJECT}: {host}, {month}", found)


def asked(settings: Settings, place: int, month: Month, now: datetime) -> list[Line]:
    """The lines of a server's report of a month, up to now. Raises AccountAway."""
    period = month.period
    period = Period(period.start, max(period.start, min(period.stop, now)))
    account = Account(_endpoint(settings, place), settings.auditor.token_file)
    try:
        every, with_energy, with_cpu = questions(settings, period)
        totals = account.totals(every)
        # The further questions read the records once more, and most accounts need neither.
        measured = following(totals, ENERGY)
        measured = account.totals(with_energy) if measured is None else measured
        known = following(totals, CORES, CPU)
        known = account.totals(with_cpu) if known is None else known
    finally:
        account.close()
    return usage_lines(settings, totals, measured, known)


def _print(found: Sequence[Line], *, as_json: bool) -> None:
    if as_json:
        for line in found:
            sys.stdout.write(f"{msgspec.json.encode(line).decode()}\n")
        return
    sys.stdout.write(as_csv([replace(line, name=visible(line.name)) for line in found]))
    sys.stdout.write("".join(f"{note}\n" for note in notes(found)))


def _mailed(settings: Settings, title: str, found: Sequence[Line]) -> bool:
    """Send the table. False when the mail server does not take it."""
    email = settings.email
    try:
        _mail(settings, title, found)
    except (OSError, ValueError, smtplib.SMTPException) as fault:
        place = f"{email.smtp_server}:{email.smtp_port}"
        log.error("utilization.unmailed server=%s reason=%r", place, str(fault))  # noqa: TRY400
        return False
    return True


def _mail(settings: Settings, title: str, found: Sequence[Line]) -> None:
    """Send the table. Raises OSError, SMTPException, and ValueError for an address that no header can hold."""
    sender, password, receiver = (os.environ[name] for name in _MAIL_VARIABLES)
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = SUBJECT, sender, receiver
    message["Date"], message["Message-ID"] = format_datetime(datetime.now(UTC)), make_msgid()
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{title}\n\n{as_csv(found)}\n{chr(10).join(notes(found))}\n")
    message.add_alternative(as_html(title, found), subtype="html")
    email = settings.email
    with smtplib.SMTP(email.smtp_server, email.smtp_port, timeout=settings.auditor.timeout) as server:
        server.ehlo()
        encrypted = email.starttls == "always" or (email.starttls == "auto" and server.has_extn("starttls"))
        if encrypted:
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
        if server.has_extn("auth"):
            server.login(sender, password)
        server.send_message(message)
    log.info("utilization.mailed to=%s encrypted=%s", receiver, encrypted)


def _check_mail(settings: Settings, arguments: argparse.Namespace) -> None:
    missing = [name for name in _MAIL_VARIABLES if not os.environ.get(name)]
    if settings.email.enable_email_report and missing and not arguments.dry_run:
        reason = f"is on, and the environment has no {', '.join(missing)}"
        raise SettingsFaulty([Fault(str(arguments.config), "email.enable_email_report", reason)])


def _adjusted(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """The settings with what the command line says."""
    auditor: dict[str, Any] = {}
    if arguments.host is not None or arguments.port is not None:
        auditor["hosts"] = (arguments.host or settings.auditor.hosts[0],)
        auditor["port"] = (arguments.port or settings.auditor.port[0],)
    if arguments.timeout is not None:
        auditor["timeout"] = arguments.timeout
    utilization = {} if arguments.interval is None else {"interval": arguments.interval}
    return replace(
        settings, auditor=replace(settings.auditor, **auditor), utilization=replace(settings.utilization, **utilization)
    )


def _before(now: datetime) -> Month:
    return Month.of(now.replace(day=1) - timedelta(days=1))


def _endpoint(settings: Settings, place: int) -> Endpoint:
    auditor = settings.auditor
    host = auditor.hosts[place]
    address = f"{f'[{host}]' if ':' in host else host}:{auditor.port[place]}"
    if not auditor.use_tls:
        return Endpoint(f"http://{address}", auditor.timeout)
    files = (auditor.ca_cert_path, auditor.client_cert_path, auditor.client_key_path)
    return Endpoint(f"https://{address}", auditor.timeout, *files)
