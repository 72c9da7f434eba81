"""`jobmeter report priority`: priorities of groups by what they provided, in place of AUDITOR's plugin."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host, OutputTooLarge, this_host
from jobmeter.peer import Endpoint
from jobmeter.report.priority.command import Outcome, filled, plain, words
from jobmeter.report.priority.provided import provided, question
from jobmeter.report.priority.settings import Settings
from jobmeter.report.priority.spread import priorities
from jobmeter.run.account import Account, AccountAway
from jobmeter.run.collector.daemon import Stopper
from jobmeter.run.exposition import Figure, published, rendered
from jobmeter.run.log import log_to_file, set_level
from jobmeter.settings.deployment import Metrics
from jobmeter.settings.load import load

ABOUT = "priorities of groups by what they provided"
SETTINGS: str = "jobmeter.report.priority.settings:Settings"

_OUTPUT_MAX_BYTES = 1 << 20
_FIGURES = {"ResourceUsage": "resource_usage", "Priority": "priority"}

log = logging.getLogger("jobmeter.report")


def options(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("config", metavar="CONFIG", type=Path, help="AUDITOR's YAML")
    parser.add_argument("--once", action="store_true", help="compute and set once, and end")
    parser.add_argument("--dry-run", action="store_true", help="print priorities and commands; run nothing")
    parser.add_argument("--json", action="store_true", help="with --dry-run: print JSON lines")


def perform(arguments: argparse.Namespace) -> int:
    """0 after a signal, or when every command ended well; 1 when the server or a command failed."""
    loaded = load(Settings, file=arguments.config, environment=os.environ, prefix="JOBMETER_PRIORITY_")
    settings = loaded.settings
    if arguments.log_level is None:
        set_level(settings.log_level)
    for note in loaded.notes:
        log.warning("settings.note %s", note)
    if settings.logging is not None and settings.logging.log_to_file:
        logging_ = settings.logging
        log_to_file(logging_.file, logging_.log_file_size, logging_.number_of_rotated_backups)
    setter = Setter(settings, this_host())
    try:
        if arguments.dry_run:
            return _print(setter, as_json=arguments.json)
        if arguments.once:
            return 0 if setter.cycle() else 1
        with published(setter, _metrics(settings)):
            return setter.run()
    except (AccountAway, OSError) as fault:
        log.error("priority.failed reason=%r", str(fault))  # noqa: TRY400 - a state of affairs, no bug
        return 1
    finally:
        setter.close()


class Setter:
    """Computes priorities and has them set; the last results are its metrics."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._account = Account(_endpoint(settings), settings.auditor.token_file)
        self._stopper = Stopper()
        self._last: Sequence[Outcome] = ()

    def close(self) -> None:
        """Close the connection."""
        self._account.close()

    def outcomes(self) -> list[Outcome]:
        """The priority of each group now. Raises AccountAway."""
        settings = self._settings
        asked = question(settings, self._host.clock.now())
        found = provided(settings, asked, self._account.totals(asked))
        for group, part in found.items():
            if part.lacking:
                log.warning("priority.unscored group=%s jobs=%d", group, part.lacking)
        resources = {group: part.resource for group, part in found.items()}
        made = priorities(resources, settings.computation_mode, settings.min_priority, settings.max_priority)
        mapping = settings.group_mapping
        return [Outcome(group, made[group], resources[group], mapping[group]) for group in mapping]

    def commands(self, outcomes: Sequence[Outcome]) -> Iterator[list[str]]:
        """The commands that set these priorities, each as its words."""
        for template in map(words, self._settings.templates):
            for outcome in outcomes:
                yield filled(template, outcome)

    def cycle(self) -> bool:
        """Compute and set. False when a command failed; that stops no other. Raises AccountAway."""
        self._last = outcomes = self.outcomes()
        failed = 0
        for argv in self.commands(outcomes):
            try:
                self._host.run(
                    argv,
                    environment=self._host.environment,
                    timeout_seconds=self._settings.command_seconds,
                    output_max_bytes=_OUTPUT_MAX_BYTES,
                )
            except (CommandMissing, CommandFailed, CommandTimedOut, OutputTooLarge) as fault:
                failed += 1
                log.error("priority.command_failed command=%r reason=%r", argv, str(fault))  # noqa: TRY400
        log.info("priority.set groups=%d failed=%d", len(outcomes), failed)
        return failed == 0

    def run(self) -> int:
        """A cycle at once, then one every `frequency` seconds, until a signal; a server that is away is asked again."""
        with self._stopper.installed():
            while not self._stopper.stop.is_set():
                try:
                    self.cycle()
                except (AccountAway, OSError) as fault:
                    log.error("priority.put_off reason=%r", str(fault))  # noqa: TRY400
                self._stopper.stop.wait(self._settings.frequency)
        return 0

    def text(self) -> str:
        """The metrics that the settings ask for, by the names of the superseded program."""
        asked = () if self._settings.prometheus is None else self._settings.prometheus.metrics
        return rendered(figure for figure in self._figures() if figure.name in {_FIGURES[name] for name in asked})

    def _figures(self) -> Iterator[Figure]:
        for outcome in self._last:
            labels = {"group": outcome.group}
            resource = float(outcome.resource)
            yield Figure("resource_usage", "gauge", "Resource usage metrics", resource, labels)
            yield Figure("priority", "gauge", "Priority metrics", outcome.priority, labels)


def _print(setter: Setter, *, as_json: bool) -> int:
    outcomes = setter.outcomes()
    if as_json:
        for outcome in outcomes:
            told = {"group": outcome.group, "resource": float(outcome.resource), "priority": outcome.priority}
            sys.stdout.write(f"{msgspec.json.encode(told).decode()}\n")
        return 0
    for outcome in outcomes:
        sys.stdout.write(f"{outcome.group}: priority {outcome.priority}, resource {plain(outcome.resource)}\n")
    for argv in setter.commands(outcomes):
        sys.stdout.write(f"would run: {argv!r}\n")
    return 0


def _metrics(settings: Settings) -> Metrics:
    shown = settings.prometheus
    if shown is None or not shown.enable:
        return Metrics()
    return Metrics(addr=shown.addr, port=shown.port)


def _endpoint(settings: Settings) -> Endpoint:
    auditor, tls = settings.auditor, settings.tls_config
    host = f"[{auditor.addr}]" if ":" in auditor.addr else auditor.addr
    if tls is None or not tls.use_tls:
        return Endpoint(f"http://{host}:{auditor.port}", auditor.timeout)
    files = (tls.ca_cert_path, tls.client_cert_path, tls.client_key_path)
    return Endpoint(f"https://{host}:{auditor.port}", auditor.timeout, *files)
