"""Collecting with a batch system whose accounting is read: as a daemon, once, a period again, or only printed."""

from __future__ import annotations

import argparse
import logging
import sys

from jobmeter.contract import JobSource, SourceUnreadable
from jobmeter.deliver.announcements import Announcements
from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.turn import Turn
from jobmeter.model.period import Period
from jobmeter.observe.host import Host
from jobmeter.run.collector.announced import AnnouncedJobs
from jobmeter.run.collector.daemon import Collector, Interrupted, Stopper
from jobmeter.run.collector.opening import open_spool
from jobmeter.run.collector.plugin import Deployed, Plugin
from jobmeter.run.collector.reporting import reported, tell_once
from jobmeter.run.collector.selfmetrics import SelfMetrics
from jobmeter.run.exposition import published
from jobmeter.settings.deployment import Deployment
from jobmeter.sinks.server import Settings as ServerSettings
from jobmeter.sinks.server import open_sink
from jobmeter.wire.auditor import encode_record

log = logging.getLogger("jobmeter.run")


def collect(source: JobSource, deployment: Deployment, period: Period | None, arguments: argparse.Namespace) -> int:
    """Collect as the command's arguments say. 1 when reading failed or records are left waiting."""
    stopper = Stopper()
    try:
        with stopper.installed():
            if arguments.dry_run:
                return _print(source, deployment, period)
            return _collect(source, deployment, stopper, period, arguments)
    except Interrupted:
        return 0
    except (SourceUnreadable, SpoolFault, OSError) as fault:
        log.error("collect.failed reason=%r", str(fault))  # noqa: TRY400 - a state of affairs, no bug
        return 1


def _collect(
    source: JobSource, deployment: Deployment, stopper: Stopper, period: Period | None, arguments: argparse.Namespace
) -> int:
    sink = open_sink(_server(deployment))
    try:
        with open_spool(deployment) as spool:
            log.info("collect.started source=%s server=%s spool=%s", deployment.source, deployment.url, spool.path)
            collector = Collector(source, spool, sink, deployment, stopper)
            if not (arguments.once or deployment.once or period is not None):
                metrics = SelfMetrics(collector, spool, deployment)
                with (
                    Turn(deployment.spool_file).shared(),
                    published(metrics, deployment.metrics),
                    reported(spool, deployment, _server(deployment).endpoint),
                ):
                    return 0 if collector.run() else 1
            try:
                tally = collector.read_once(period)
            except SourceUnreadable:
                collector.drain(arguments.deliver_seconds)  # what could be read must not wait for what could not
                raise
            delivered = collector.drain(arguments.deliver_seconds)
            tell_once(spool, deployment, _server(deployment).endpoint)
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


def announced_jobs(plugin: Plugin, settings: Deployed, host: Host, *, forget: bool = True) -> AnnouncedJobs:
    """The jobs that were announced and not taken, also those of a time when the settings could not be used."""
    default: Deployed = plugin.Settings()
    spools = dict.fromkeys((settings.deployment.spool_file, default.deployment.spool_file))
    return AnnouncedJobs(plugin, settings, host, [Announcements(spool) for spool in spools], forget=forget)


def deliver_announced(plugin: Plugin, settings: Deployed, host: Host, seconds: float) -> None:
    """Ask again for the announced jobs and deliver, for so long at most. Raises the faults of the spool."""
    deployment = settings.deployment
    sink = open_sink(_server(deployment))
    try:
        with open_spool(deployment) as spool:
            collector = Collector(announced_jobs(plugin, settings, host), spool, sink, deployment, Stopper())
            collector.read_once()
            collector.drain(seconds)
    finally:
        sink.close()


def _print(source: JobSource, deployment: Deployment, period: Period | None) -> int:
    """The dry run. Entries that the spool would know as repeats are printed, too."""
    cursor = None
    if period is None and deployment.spool_file.exists():
        with open_spool(deployment) as spool:
            cursor = spool.cursor(deployment.source)
    for batch in source.read(cursor, period):
        for record in batch.records:
            sys.stdout.write(encode_record(record).decode() + "\n")
        for entry in batch.refused:
            log.warning("collect.would_refuse reason=%r entry=%r", entry.reason, entry.raw[:500])
        for reason, count in sorted(batch.ignored.items()):
            log.info("collect.would_ignore jobs=%d reason=%r", count, reason)
    return 0


def _server(deployment: Deployment) -> ServerSettings:
    tls = deployment.tls if deployment.tls is not None and deployment.tls.use_tls else None
    return ServerSettings(
        address=deployment.url,
        token=deployment.token,
        token_file=deployment.token_file,
        timeout_seconds=deployment.timeout_seconds,
        ca_file=None if tls is None else tls.ca_cert_path,
        certificate_file=None if tls is None else tls.client_cert_path,
        key_file=None if tls is None else tls.client_key_path,
    )
