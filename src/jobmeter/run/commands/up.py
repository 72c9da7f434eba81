"""`jobmeter up`: everything on one machine without any set-up: server, pages, samples, documents, finished jobs.

Says what it found here, what it uses and what it leaves, then serves until one signal ends it. All data lies in one
folder; started again there, it goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from jobmeter.deliver.lockfile import alone
from jobmeter.observe.host import Host, this_host
from jobmeter.run.commands import serve
from jobmeter.run.demo import load as demo_load
from jobmeter.run.main import main
from jobmeter.run.server.database_options import DATA_DEFAULT
from jobmeter.run.server.reach import is_loopback, remote_addresses
from jobmeter.run.up import files as up_files
from jobmeter.run.up import findings as up_findings
from jobmeter.run.up.family import Family, apart
from jobmeter.run.up.findings import Finding
from jobmeter.run.up.listening import for_others, listened, reached
from jobmeter.run.up.node import Ways, measure
from jobmeter.run.up.progress import Progress, progress, sentence
from jobmeter.serve.policy import policy_of
from jobmeter.serve.settings import ServeSettings, tls_of

SUMMARY: str = "measures and serves this machine, with nothing to set up"

FAILED = 1
WRONG_USE = 2
READY_SECONDS = 120.0
PROGRESS_SECONDS = 5.0

DEMO_DATA = Path("jobmeter-demo-data")

Say = Callable[..., None]
"""Told an event, a sentence for a person, and values for a program."""

_BATCH = ("slurm", "htcondor", "oar", "kubernetes")
_PARTS = ("node", "facility")
_DOCUMENTED_QUEUES = ("slurm", "htcondor")
_ADDRESS = re.compile(r"\b(https?)(://\S+):(\d+)")


def declare(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    serve.declare_place(parser)
    add = parser.add_argument
    add(
        "--listen",
        metavar="ADDRESS[:PORT]",
        type=listened,
        help="serve others, too, who must show a token: 0.0.0.0, [::]:8000, or an address of this machine",
    )
    add("--site", metavar="NAME", help="what this site is called in records (default: the host's name)")
    add("--history", metavar="DAYS", type=_days, default=30, help="how far back batch systems are read at first (30)")
    add("--period", metavar="SECONDS", type=_period, default=5.0, help="how often the machine is measured (5)")
    add("--demo", action="store_true", help="show a made-up facility, in a folder of its own; nothing here is measured")
    add("--look", action="store_true", help="only say what is here, and end")
    add("--json", action="store_true", help="say everything as JSON, an object a line")
    for name in (*_PARTS, *_BATCH, *up_findings.SOURCES):
        what = (
            "measure nothing here" if name == "node" else "make no documents of this host" if name == "facility" else ""
        )
        add(f"--no-{name}", action="store_true", help=what or argparse.SUPPRESS)
    parser.epilog = f"--no-NAME leaves out one of: {', '.join((*_BATCH, *up_findings.SOURCES))}"


def execute(arguments: argparse.Namespace) -> int:
    """Find out what is here and run it. 0 after an orderly stop, 1 when it cannot start here, 2 for wrong use."""
    arguments.config = None
    arguments.as_auditor = False
    if arguments.listen is not None:
        _listen(arguments, *arguments.listen)
    addresses = [each for each in (arguments.host, arguments.https_host) if each is not None]
    if not all(map(is_loopback, addresses)) and not arguments.allow_remote:
        arguments.require_authentication = True
    host = this_host()
    say = _json_line if arguments.json else _text_line
    if arguments.demo:
        return _demo(arguments, host, say)
    left_out = [name for name in (*_BATCH, *up_findings.SOURCES) if _is_left(arguments, name)]
    batch = up_findings.batch_systems(host, shutil.which, left_out)
    found = [*batch, *([] if arguments.no_node else up_findings.sources(host, left_out))]
    _tell(say, found)
    if arguments.look:
        return 0
    return _prepared(arguments, host, found, say)


def _listen(arguments: argparse.Namespace, host: str, port: int | None) -> None:
    """Serve others there: over HTTPS where there is a certificate, while our own processes stay on loopback."""
    if arguments.tls_certificate is None:
        arguments.host, arguments.port = host, port if arguments.port is None else arguments.port
    else:
        arguments.https_host, arguments.https_port = (
            host,
            port if arguments.https_port is None else arguments.https_port,
        )


def _prepared(arguments: argparse.Namespace, host: Host, found: Sequence[Finding], say: Say) -> int:
    prepared = serve.prepared(arguments)
    if isinstance(prepared, int):
        return prepared
    try:
        data = up_findings.data_folder(arguments.data)
    except OSError as fault:
        serve.print_line(f"jobmeter up: the data folder cannot be made: {fault}")
        return FAILED
    with alone(data / "up" / "lock") as ours:
        if not ours:
            serve.print_line(f"jobmeter up: another one runs on {data}")
            return FAILED
        if arguments.demo and (code := _filled(data, prepared[1], host, say)) != 0:
            return code
        if policy_of(prepared[0]).asks and (code := _with_tokens(data, prepared[1], host, say)) != 0:
            return code
        return _Up(arguments, host, data, found, say).run(*prepared)


def _demo(arguments: argparse.Namespace, host: Host, say: Say) -> int:
    """The demo has a folder of its own and nothing of this machine in it."""
    if arguments.data == DATA_DEFAULT:
        arguments.data = DEMO_DATA
    if arguments.database is not None:
        serve.print_line("jobmeter up: --demo fills a folder of its own, not a --database")
        return WRONG_USE
    if (reason := demo_load.fault(arguments.data)) is not None:
        serve.print_line(f"jobmeter up: {reason}")
        return WRONG_USE
    arguments.no_node = arguments.no_facility = True
    say("demo", f"DEMO: a made-up facility in {arguments.data}; nothing on this machine is measured")
    return _prepared(arguments, host, [], say)


def _filled(data: Path, url: str, host: Host, say: Say) -> int:
    def fill() -> int:
        demo_load.load(data, url, host.clock.now(), lambda sentence: say("demo", sentence))
        return 0

    return apart(fill)


def _with_tokens(data: Path, url: str, host: Host, say: Say) -> int:
    """Make the tokens that are missing, and show the owner's once."""
    from jobmeter.run.up.access import OWNER_DAYS, make_tokens  # noqa: PLC0415 - --help must not pay for the store

    def show(secret: str) -> None:
        say(
            "token",
            f"To look at the pages, give any name and this token as the password. It is shown this once, and is good "
            f"for {OWNER_DAYS} days:\n  {secret}",
            token=secret,
        )

    def make() -> int:
        make_tokens(data, url, host.clock, show)
        return 0

    return apart(make)


class _Up:
    """One run: the server first, then all that tells it something."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        host: Host,
        data: Path,
        found: Sequence[Finding],
        say: Say,
    ) -> None:
        self._arguments = arguments
        self._host = host
        self._data = data.absolute()
        self._used = {each.name: each for each in found if each.used}
        self._say = say
        self._family = Family(self._data / "logs", lambda told: say("fell", told))
        self._told: dict[str, Progress] = {}
        self._reading, self._writing = os.pipe()
        self._settings = ServeSettings()
        self._url = ""
        self._token_file: str | None = None

    def run(self, settings: ServeSettings, url: str) -> int:
        """Until a signal."""
        if settings.samples.path is None:
            samples = structs.replace(settings.samples, path=self._data / "samples")
            settings = structs.replace(settings, samples=samples)
        self._settings, self._url = settings, url
        if policy_of(settings).asks:
            self._token_file = str(self._data / "up" / "token")
        began = time.monotonic()
        with self._family.listening():
            try:
                self._family.begin("server", self._serve)
                address = self._ready()
                if address is None:
                    return FAILED
                self._begin_others(address)
                remote = list(remote_addresses(self._settings))
                if remote:
                    asked, tls = self._token_file is not None, tls_of(self._settings)
                    port = self._settings.application.port if tls is None else tls.https_port
                    told = for_others(self._host.name, port, asked=asked, encrypted=tls is not None)
                    self._say("remote", told, addresses=remote)
                seconds = time.monotonic() - began
                told = f"jobmeter is ready at {address} ({seconds:.1f} s; data in {self._data})"
                self._say("ready", told, address=address)
                self._watch()
            finally:
                killed = self._family.end()
        self._say("stopped", f"stopped; killed: {', '.join(killed)}" if killed else "stopped", killed=killed)
        return FAILED if killed else 0

    def _serve(self) -> int:
        return serve.run(self._settings, self._url, lambda line: _write(self._writing, line))

    def _ready(self) -> str | None:
        """The server's address once it answers; None when it fell, did not answer in time, or a signal came."""
        os.set_blocking(self._reading, False)
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if not self._family.pause(0.05):
                return None
            if not self._family.runs("server"):
                break
            found = {match[1]: match for match in _ADDRESS.finditer(_read(self._reading))}
            if "http" in found:
                self._stay(int(found["http"][3]), int(found["https"][3]) if "https" in found else None)
                return reached(found["http"][0])
        file = self._family.log_file("server")
        self._say("failed", f"the server did not start; the end of {file}:\n{_tail(file)}")
        return None

    def _stay(self, port: int, https_port: int | None) -> None:
        """A server that falls comes back where the others look for it, also when any port was good."""
        application = structs.replace(self._settings.application, port=port)
        tls = self._settings.tls_config
        if tls is not None and https_port is not None:
            tls = structs.replace(tls, https_port=https_port)
        self._settings = structs.replace(self._settings, application=application, tls_config=tls)

    def _begin_others(self, address: str) -> None:
        folder = self._data / "up"
        site = self._arguments.site or self._host.name
        sources = tuple(name for name in up_findings.SOURCES if name in self._used)
        if sources and not self._arguments.no_node:
            ways = Ways(sources, self._arguments.period)
            self._family.begin("node", lambda: measure(self._host, ways, address, self._token_file))
        if not self._arguments.no_facility:
            batch = next((name for name in _DOCUMENTED_QUEUES if name in self._used), None)
            file = up_files.facility_file(folder, site, batch)
            variables = {"JOBMETER_FACILITY_SEND__URL": f"{address}/"}
            if self._token_file is not None:
                variables["JOBMETER_FACILITY_SEND__TOKEN_FILE"] = self._token_file
            self._family.begin("facility", lambda: _command(["facility", "--config", str(file)], variables))
        since = self._host.clock.now() - timedelta(days=self._arguments.history)
        for source in (name for name in _BATCH if name in self._used):
            place = up_files.Place(site, self._host.name, since, self._used[source].command)
            self._collect(source, up_files.collector_file(folder, source, place), address)

    def _collect(self, source: str, file: Path, address: str) -> None:
        server, _, port = address.removeprefix("http://").rpartition(":")
        variables = up_files.server_variables(source, server.strip("[]"), int(port), self._token_file)
        words = ["collect", source, "-c", str(file)] if source == "htcondor" else ["collect", source, str(file)]
        self._family.begin(f"collect-{source}", lambda: _command(words, variables))

    def _watch(self) -> None:
        while self._family.pause(PROGRESS_SECONDS):
            _read(self._reading)
            for source in (name for name in _BATCH if name in self._used):
                now = progress(source, self._data / "up" / f"{source}.prom")
                before = self._told.get(source)
                if now is None or now == before or (before is not None and _is_settled(before) and _is_settled(now)):
                    continue
                self._told[source] = now
                self._say("progress", sentence(now), **structs.asdict(now))


def _is_settled(now: Progress) -> bool:
    return now.is_done and not now.failures


def _is_left(arguments: argparse.Namespace, name: str) -> bool:
    return bool(getattr(arguments, f"no_{name}"))


def _command(words: list[str], variables: Mapping[str, str]) -> int:
    """What a member does that is a command of its own."""
    os.environ.update(variables)
    return main(words)


def _tell(say: Say, found: Sequence[Finding]) -> None:
    if say is _json_line:
        for each in found:
            say("found", "", **structs.asdict(each))
        return
    for line in ("On this machine:", *up_findings.lines(found), up_findings.rights(os.geteuid())):
        serve.print_line(line)


def _text_line(event: str, sentence: str, **_: Any) -> None:
    del event
    serve.print_line(sentence)


def _json_line(event: str, sentence: str, **values: Any) -> None:
    told = {"event": event, **({"message": sentence} if sentence else {}), **values}
    serve.print_line(msgspec.json.encode(told).decode())


def _write(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())


def _read(descriptor: int) -> str:
    try:
        return os.read(descriptor, 1 << 16).decode("utf-8", "replace")
    except BlockingIOError:
        return ""


def _tail(file: Path) -> str:
    try:
        return "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
    except OSError as fault:
        return str(fault)


def _days(text: str) -> int:
    days = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else -1
    if days < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return days


def _period(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0.1 to 3600 seconds")
    return seconds
