"""`jobmeter serve`: the record store behind the REST server, until it is told to stop.

Settings come in layers, later ones win: for AUDITOR's name `configuration/base.yaml` and the file that
AUDITOR_ENVIRONMENT chooses; the configuration file; AUDITOR_… variables; JOBMETER_… variables; the command line.
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.run.log import set_level
from jobmeter.serve.settings import ServeSettings, not_offered
from jobmeter.settings.environment import overlay, overrides
from jobmeter.settings.fault import Fault, Place, SettingsFaulty
from jobmeter.settings.load import Loaded, bind, read
from jobmeter.settings.node import Entry, Node
from jobmeter.settings.node import Mapping as Tree

if TYPE_CHECKING:
    from socket import socket

SUMMARY: str = "serves the record API on SQLite or PostgreSQL"
SETTINGS = "jobmeter.serve.settings:ServeSettings"

FAILED = 1
WRONG_USE = 2
REMOTE_FLAG = "--allow-remote-without-authentication"

log = logging.getLogger("jobmeter.run")

_AUDITOR = "AUDITOR"
_OURS = "JOBMETER"
_ENVIRONMENT = "AUDITOR_ENVIRONMENT"
_FACET_KEYS = {"site": ("site", "site_id"), "group": ("group", "group_id"), "user": ("user", "user_id")}


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The present moment."""
        return datetime.now(UTC)


def declare(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("config", nargs="?", metavar="CONFIG", type=Path, help="settings, our TOML or AUDITOR's YAML")
    parser.add_argument(
        "--as-auditor",
        action="store_true",
        help="start as AUDITOR does: read configuration/base.yaml and its like, and listen wherever these files say",
    )
    declare_place(parser)


def declare_place(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where the server listens and keeps its records."""
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", metavar="PORT", type=_port, help="port to listen on (default: 8000)")
    parser.add_argument(
        "--data", metavar="DIR", type=Path, default=Path("jobmeter-data"), help="data folder (default: ./jobmeter-data)"
    )
    parser.add_argument(
        "--database", metavar="URL", help="sqlite:///PATH or postgresql://… (default: sqlite:///DATA/records.db)"
    )
    parser.add_argument(
        REMOTE_FLAG,
        action="store_true",
        dest="allow_remote",
        help="listen beyond this machine, although anyone who reaches the port may read and write",
    )


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return port


def execute(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. 0 after an orderly stop, 1 when it cannot start here, 2 for wrong settings."""
    environment = dict(os.environ)
    folder = Path.cwd() if arguments.as_auditor or _ENVIRONMENT in environment else None
    loaded = load_settings(arguments.config, environment, folder)
    for note in loaded.notes:
        log.warning("settings.note %s", note)
    settings = placed(loaded.settings, arguments)
    if arguments.log_level is None:
        set_level(settings.log_level)
    remote = [address for address in settings.application.addr if not is_loopback(address)]
    faults = not_offered(settings)
    if remote and not (arguments.allow_remote or arguments.as_auditor):
        faults.append(
            f"{', '.join(remote)} can be reached from other machines, and this release does not ask who is there: "
            f"anyone could read and write. Listen on 127.0.0.1, or give {REMOTE_FLAG}."
        )
    if faults:
        return _refused(faults, WRONG_USE)
    if remote:
        log.warning("serve.open addresses=%s anyone who reaches the port may read and write", ",".join(remote))
    return run(settings, database_url(settings, arguments.data), print_line)


def load_settings(
    config: Path | None, environment: Mapping[str, str], auditor_folder: Path | None
) -> Loaded[ServeSettings]:
    """The settings of all layers; `auditor_folder` is where AUDITOR's own files are looked for, None: nowhere.

    Raises SettingsFaulty.
    """
    layers = [] if auditor_folder is None else _auditor_files(auditor_folder, environment)
    if config is not None:
        layers.append(config)
    tree = Tree((), Place("settings"))
    for layer in layers:
        tree = merged(tree, read(layer))
    given = {name: value for name, value in environment.items() if name != _ENVIRONMENT}
    found, notes = overrides(ServeSettings, given, _AUDITOR)
    loaded = bind(ServeSettings, overlay(tree, found), given, _OURS)
    return Loaded(loaded.settings, (*notes, *loaded.notes, *_facet_notes(loaded.settings)))


def _auditor_files(folder: Path, environment: Mapping[str, str]) -> list[Path]:
    chosen = environment.get(_ENVIRONMENT, "local").lower()
    if chosen not in ("local", "production"):
        place = f"environment variable {_ENVIRONMENT}"
        raise SettingsFaulty([Fault(place, "environment", f'"{chosen}" is neither local nor production')])
    for where in (folder / "configuration", folder / "auditor" / "configuration"):
        found = [where / f"{name}{ending}" for name in ("base", chosen) for ending in (".yaml", ".yml")]
        found = [file for file in found if file.is_file()]
        if found:
            return found
    return []


def merged(under: Tree, over: Tree) -> Tree:
    """Both trees in one; where both have a key, tables are merged and any other value of `over` wins."""
    entries = {entry.key: entry for entry in under.entries}
    for entry in over.entries:
        known = entries.get(entry.key)
        value: Node = entry.value
        if known is not None and isinstance(known.value, Tree) and isinstance(value, Tree):
            value = merged(known.value, value)
        entries[entry.key] = Entry(entry.key, value, entry.place)
    return Tree(tuple(entries.values()), over.place, over.tag)


def _facet_notes(settings: ServeSettings) -> list[str]:
    counted = settings.metrics.database
    keys = {"site": counted.meta_key_site, "group": counted.meta_key_group, "user": counted.meta_key_user}
    return [
        f"metrics.database.meta_key_{facet}: records are counted by the keys {' and '.join(_FACET_KEYS[facet])}, "
        f"{key} has no effect"
        for facet, key in keys.items()
        if key not in _FACET_KEYS[facet]
    ]


def placed(settings: ServeSettings, arguments: argparse.Namespace) -> ServeSettings:
    """The settings with what the command line says about address, port and database."""
    application = settings.application
    if arguments.host is not None:
        application = msgspec.structs.replace(application, addr=(arguments.host,))
    if arguments.port is not None:
        application = msgspec.structs.replace(application, port=arguments.port)
    url = arguments.database if arguments.database is not None else settings.database_url
    return msgspec.structs.replace(settings, application=application, database_url=url)


def database_url(settings: ServeSettings, data: Path) -> str:
    """Where the records are: as said, or in a file under the data folder, which is made."""
    if settings.database_url is not None:
        return settings.database_url
    if settings.database is not None:
        return settings.database.url
    data.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{data / 'records.db'}"


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def run(settings: ServeSettings, url: str, say: Callable[[str], None]) -> int:
    """Open the store, listen, and serve until told to stop. The exit code."""
    from jobmeter.serve.server import AddressUnusable, bind  # noqa: PLC0415 - --help must not pay for the server
    from jobmeter.store.address import shown  # noqa: PLC0415
    from jobmeter.store.fault import DatabaseUrlFaulty  # noqa: PLC0415

    try:
        sockets = bind(settings.application.addr, settings.application.port)
    except AddressUnusable as fault:
        return _refused([str(fault)], FAILED)
    try:
        store = open_when_possible(url)
    except DatabaseUrlFaulty as fault:
        return _refused([str(fault)], WRONG_USE)
    except StoreUnavailable as fault:
        return _refused([f"the record store cannot be opened: {fault}"], FAILED)
    try:
        addresses = " ".join(_address(one) for one in sockets)
        _serve(store, settings, sockets, lambda: say(f"jobmeter is ready at {addresses} (records in {shown(url)})"))
    finally:
        store.close()
    return 0


def open_when_possible(url: str) -> RecordStore:
    """The store, its schema brought up to date. A PostgreSQL server that does not answer yet is waited for.

    Raises DatabaseUrlFaulty, and StoreUnavailable when nothing would change by waiting.
    """
    from jobmeter.store.address import sqlite_path  # noqa: PLC0415
    from jobmeter.store.fault import SchemaUnfit  # noqa: PLC0415
    from jobmeter.store.open import open_store  # noqa: PLC0415

    try:
        return open_store(url, migrate=True)
    except SchemaUnfit:
        raise
    except StoreUnavailable as fault:
        if sqlite_path(url) is not None:
            raise
        log.warning("store.awaited reason=%r", str(fault))
        return open_store(url)


def _serve(store: RecordStore, settings: ServeSettings, sockets: list[socket], ready: Callable[[], None]) -> None:
    import gc  # noqa: PLC0415
    import resource  # noqa: PLC0415

    from jobmeter.serve.app import make_app  # noqa: PLC0415
    from jobmeter.serve.server import serve  # noqa: PLC0415

    app = make_app(store, settings, SystemClock())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # What was imported lives as long as the process; requests leave no cycles behind. Looking at all of it again and
    # again took a tenth of the time of a single post.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    serve(app, settings.limits, sockets, ready)


def _address(one: socket) -> str:
    host, port = one.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def print_line(line: str) -> None:
    """Say a line at once."""
    print(line, flush=True)  # noqa: T201


def _refused(sentences: Sequence[str], code: int) -> int:
    for sentence in sentences:
        print(f"jobmeter: {sentence}", file=sys.stderr)  # noqa: T201
    return code
