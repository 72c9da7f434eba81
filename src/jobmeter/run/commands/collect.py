"""`jobmeter collect SOURCE CONFIG`: finished jobs of a batch system become records on a server.

What runs for a single job, in Slurm's epilog, must start within a few milliseconds. So this module imports what every
collector needs, and the daemon around the others is imported when one of them is asked for.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any, cast

from jobmeter import registry
from jobmeter.model.period import Period
from jobmeter.observe.host import this_host
from jobmeter.run.collector import hook
from jobmeter.run.collector.plugin import Deployed, Plugin
from jobmeter.run.collector.sources import Chosen
from jobmeter.run.log import log_to_file, set_level
from jobmeter.settings.deployment import Deployment
from jobmeter.settings.fault import SettingsFaulty
from jobmeter.settings.load import Loaded, load
from jobmeter.wire.auditor import parse_time

SUMMARY: str = "collects the finished jobs of a batch system and sends them to a server"

WRONG_USE = 2

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

log = logging.getLogger("jobmeter.run")


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        action=Chosen,
        shared=_declare_shared,
        help="the batch system, then the file of its settings and options; `jobmeter collect slurm --help` says which",
    )
    _declare_shared(parser)


def _declare_shared(parser: argparse.ArgumentParser) -> None:
    """The options of every source, which may stand before it and after it."""
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
    plugin = cast("Plugin", registry.module("observe.batch", arguments.source))
    host = this_host()
    variable = getattr(plugin.Settings, "hook_variable", None)
    job = None if variable is None or arguments.dry_run or arguments.once or period else os.environ.get(variable)
    try:
        settings = _settings(plugin, arguments)
    except SettingsFaulty as fault:
        if job is None:
            raise
        default: Deployment = plugin.Settings().deployment
        if default.hook is None:
            raise
        return hook.misconfigured(default.spool_file, default.hook, job, host, fault)
    deployment = settings.deployment
    if deployment.hook is not None and job is not None:
        return hook.take(plugin, settings, deployment.hook, job, host)
    from jobmeter.run.collector import collecting  # noqa: PLC0415 - see the top

    if deployment.log_file is not None:
        log_to_file(deployment.log_file)
    if deployment.logging is not None and deployment.logging.log_to_file:
        log_to_file(
            deployment.logging.file, deployment.logging.log_file_size, deployment.logging.number_of_rotated_backups
        )
    if deployment.hook is not None and variable not in os.environ:
        announced = collecting.announced_jobs(plugin, settings, host, forget=not arguments.dry_run)
        return collecting.collect(announced, deployment, period, arguments)
    return collecting.collect(plugin.open_source(settings, host), deployment, period, arguments)


def _settings(plugin: Plugin, arguments: argparse.Namespace) -> Deployed:
    prefix = getattr(plugin.Settings, "environment_prefix", None)
    loaded: Loaded[Any] = load(plugin.Settings, file=arguments.config, environment=os.environ, prefix=prefix)
    adjust = getattr(plugin, "adjusted", None)
    settings: Deployed = loaded.settings if adjust is None else adjust(loaded.settings, arguments)
    if arguments.log_level is None:
        set_level(settings.deployment.log_level)
    for note in loaded.notes:
        log.warning("settings.note %s", note)
    return settings


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
    return WRONG_USE


def _moment(text: str) -> datetime:
    try:
        return parse_time(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None
