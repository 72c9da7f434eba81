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
from pathlib import Path
from typing import Any, Protocol, cast

from jobmeter import registry
from jobmeter.contract import JobSource
from jobmeter.model.period import Period
from jobmeter.observe.host import Host, this_host
from jobmeter.run.log import set_level
from jobmeter.run.main import add_log_level
from jobmeter.settings.deployment import Deployment
from jobmeter.settings.load import Loaded, load
from jobmeter.wire.auditor import parse_time

SUMMARY: str = "Collect the finished jobs of a batch system and send them to a server."

WRONG_USE = 2

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

log = logging.getLogger("jobmeter.run")


class _Deployed(Protocol):
    """Settings of a job source that say what the daemon around it needs to know."""

    @property
    def deployment(self) -> Deployment: ...


class _Plugin(Protocol):
    """A job source. It may offer `declare(parser)`, options of its own, and `adjusted(settings, arguments)`.

    The latter gives the settings with what was given by those options.
    """

    Settings: type

    def open_source(self, settings: _Deployed, host: Host) -> JobSource: ...


class Chosen(argparse.Action):
    """The source and all words after it: only the source that was named is imported, for the options of its own."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002 - the signature of actions
    ) -> None:
        """Read the words after the source by the source's own parser."""
        name, *words = values
        namespace.source = name
        try:
            inner = self.parser_of(name)
        except registry.UnknownPlugin as fault:
            parser.error(str(fault))
        inner.parse_args(words, namespace)

    def parser_of(self, name: str) -> argparse.ArgumentParser:
        """The parser of what follows the source. Raises UnknownPlugin."""
        plugin = registry.module("observe.batch", name)
        inner = argparse.ArgumentParser(
            prog=f"jobmeter collect {name}", description=(plugin.__doc__ or "").split("\n")[0]
        )
        about = "its settings: YAML of AUDITOR's collector, or TOML"
        inner.add_argument("config", nargs="?", type=Path, default=argparse.SUPPRESS, help=about)
        inner.add_argument("-c", "--config", dest="config", type=Path, default=argparse.SUPPRESS, help="the same")
        _declare_shared(inner)
        if hasattr(plugin, "declare"):
            plugin.declare(inner)
        add_log_level(inner)
        return inner


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs=argparse.PARSER,
        action=Chosen,
        help="the batch system, such as slurm, the file of its settings, and options; SOURCE --help says more",
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
    plugin = cast("_Plugin", registry.module("observe.batch", arguments.source))
    file = getattr(arguments, "config", None)
    if file is None:
        return _misused("which settings? Name their file after the source")
    prefix = getattr(plugin.Settings, "environment_prefix", None)
    loaded: Loaded[Any] = load(plugin.Settings, file=file, environment=os.environ, prefix=prefix)
    settings: _Deployed = loaded.settings
    if hasattr(plugin, "adjusted"):
        settings = plugin.adjusted(settings, arguments)
    deployment = settings.deployment
    if arguments.log_level is None:
        set_level(deployment.log_level)
    from jobmeter.run import collecting  # noqa: PLC0415 - see the top

    collecting.log_to_file(deployment)
    for note in loaded.notes:
        log.warning("settings.note %s", note)
    source = plugin.open_source(settings, this_host())
    return collecting.collect(source, deployment, period, arguments)


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
