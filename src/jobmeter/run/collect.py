"""`jobmeter collect SOURCE CONFIG`: finished jobs of a batch system become records on a server."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

from jobmeter import registry
from jobmeter.contract import JobSource, SourceUnreadable
from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.period import Period
from jobmeter.observe.host import Host, SystemClock, this_host
from jobmeter.run.collector import Collector, Interrupted, Stopper
from jobmeter.run.log import log_to_file, set_level
from jobmeter.settings.deployment import Deployment
from jobmeter.settings.load import Loaded, load
from jobmeter.sinks.server import Settings as ServerSettings
from jobmeter.sinks.server import open_sink
from jobmeter.wire.auditor import encode_record, parse_time

SUMMARY: str = "collects the finished jobs of a batch system and sends them to a server"

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

log = logging.getLogger("jobmeter.run")


class _Deployed(Protocol):
    """Settings of a job source that say what the daemon around it needs to know."""

    @property
    def deployment(self) -> Deployment: ...


class _Plugin(Protocol):
    Settings: type

    def open_source(self, settings: _Deployed, host: Host) -> JobSource: ...


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("source", choices=registry.names("observe.batch"), help="the batch system")
    parser.add_argument("config", type=Path, help="its settings: YAML of AUDITOR's collector, or TOML")
    parser.add_argument("--once", action="store_true", help="read once, deliver, and end")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the records as JSON lines; store, send and remember nothing"
    )
    parser.add_argument(
        "--since",
        type=_moment,
        metavar="TIME",
        help="read again what ended from then on, and end; a day (UTC) or a time with a zone, 2024-01-31T12:00:00Z",
    )
    parser.add_argument("--until", type=_moment, metavar="TIME", help="with --since: what ended before; default: now")
    parser.add_argument(
        "--deliver-seconds",
        type=float,
        default=60.0,
        metavar="N",
        help="with --once or --since: how long to try to deliver (60); the rest stays in the spool",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Collect. 0 when stopped by a signal or all is delivered, 1 when reading failed or records are left waiting."""
    period = _period(arguments.since, arguments.until)
    plugin = cast("_Plugin", registry.module("observe.batch", arguments.source))
    prefix = getattr(plugin.Settings, "environment_prefix", None)
    loaded: Loaded[Any] = load(plugin.Settings, file=arguments.config, environment=os.environ, prefix=prefix)
    settings: _Deployed = loaded.settings
    deployment = settings.deployment
    _start_log(arguments, deployment)
    for note in loaded.notes:
        log.warning("settings.note %s", note)
    source = plugin.open_source(settings, this_host())
    stopper = Stopper()
    try:
        with stopper.installed():
            if arguments.dry_run:
                return _print(source, deployment, period)
            return _collect(source, deployment, stopper, period, arguments)
    except Interrupted:
        return 0
    except (SourceUnreadable, SpoolFault) as fault:
        log.error("collect.failed reason=%r", str(fault))  # noqa: TRY400 - a state of affairs, no bug
        return 1


def _collect(
    source: JobSource, deployment: Deployment, stopper: Stopper, period: Period | None, arguments: argparse.Namespace
) -> int:
    deployment.spool_file.parent.mkdir(parents=True, exist_ok=True)
    sink = open_sink(_server(deployment))
    try:
        with _spool(deployment) as spool:
            log.info("collect.started source=%s server=%s spool=%s", deployment.source, deployment.url, spool.path)
            collector = Collector(source, spool, sink, deployment, stopper)
            if not (arguments.once or period is not None):
                return 0 if collector.run() else 1
            tally = collector.read_once(period)
            delivered = collector.drain(arguments.deliver_seconds)
            waiting = spool.status().entries
            log.info(
                "collect.done queued=%d repeated=%d refused=%d waiting=%d",
                tally.queued,
                tally.repeated,
                tally.refused,
                waiting,
            )
            return 0 if delivered else 1
    finally:
        sink.close()


def _print(source: JobSource, deployment: Deployment, period: Period | None) -> int:
    """The dry run. Entries that the spool would know as repeats are printed, too."""
    cursor = None
    if period is None and deployment.spool_file.exists():
        with _spool(deployment) as spool:
            cursor = spool.cursor(deployment.source)
    for batch in source.read(cursor, period):
        for record in batch.records:
            sys.stdout.write(encode_record(record).decode() + "\n")
        for entry in batch.refused:
            log.warning("collect.would_refuse reason=%r entry=%r", entry.reason, entry.raw[:500])
        for reason, count in sorted(batch.ignored.items()):
            log.info("collect.would_ignore jobs=%d reason=%r", count, reason)
    return 0


def _spool(deployment: Deployment) -> Spool:
    bounds = deployment.spool
    settings = SpoolSettings(
        max_bytes=bounds.max_bytes,
        when_full=bounds.when_full,
        max_age_days=bounds.max_age_days,
        letters_max=bounds.letters_max,
        seen_days=bounds.seen_days,
    )
    return Spool(deployment.spool_file, settings, SystemClock())


def _server(deployment: Deployment) -> ServerSettings:
    tls = deployment.tls if deployment.tls is not None and deployment.tls.use_tls else None
    return ServerSettings(
        address=deployment.url,
        ca_file=None if tls is None else tls.ca_cert_path,
        certificate_file=None if tls is None else tls.client_cert_path,
        key_file=None if tls is None else tls.client_key_path,
    )


def _start_log(arguments: argparse.Namespace, deployment: Deployment) -> None:
    if arguments.log_level is None:
        set_level(deployment.log_level)
    if deployment.logging is not None and deployment.logging.log_to_file:
        log_to_file(deployment.logging)


def _period(since: datetime | None, until: datetime | None) -> Period | None:
    if since is None:
        if until is not None:
            raise SystemExit(_misused("--until needs --since"))
        return None
    stop = datetime.now(UTC) if until is None else until
    if stop <= since:
        raise SystemExit(_misused("--until is not after --since"))
    return Period(since, stop)


def _misused(sentence: str) -> int:
    sys.stderr.write(f"jobmeter collect: {sentence}\n")
    return 2


def _moment(text: str) -> datetime:
    try:
        return parse_time(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None
