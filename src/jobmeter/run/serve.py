"""`jobmeter serve`: the record store behind the REST server, until it is told to stop.

Its settings come in layers (`jobmeter.run.server_settings`); the command line wins.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jobmeter.contract import RecordStore, StoreUnavailable, TokenStore
from jobmeter.observe.host import SystemClock
from jobmeter.run.log import log_to_file, set_level
from jobmeter.run.server_settings import database_url, load_settings
from jobmeter.serve.policy import policy_of
from jobmeter.serve.settings import ServeSettings, not_offered

if TYPE_CHECKING:
    from jobmeter.run.listening import Listeners

SUMMARY: str = "serves the record API on SQLite or PostgreSQL"
SETTINGS = "jobmeter.serve.settings:ServeSettings"

FAILED = 1
WRONG_USE = 2
ACCESS_FLAG = "--require-authentication"
REMOTE_FLAG = "--allow-remote-without-authentication"

log = logging.getLogger("jobmeter.run")


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
        ACCESS_FLAG,
        action="store_true",
        dest="require_authentication",
        help="ask everyone for a token or a certificate; the same as access.required in the settings",
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
    loaded = load_settings(arguments.config, os.environ, Path.cwd(), as_auditor=arguments.as_auditor)
    for note in loaded.notes:
        log.warning("settings.note %s", note)
    settings = placed(loaded.settings, arguments)
    if arguments.log_level is None:
        set_level(settings.log_level)
    remote = _remote(settings)
    faults = not_offered(settings)
    asks = policy_of(settings).asks
    if remote and not (asks or arguments.allow_remote or arguments.as_auditor):
        faults.append(
            f"{', '.join(remote)} can be reached from other machines, and nobody is asked who they are: anyone could "
            f"read and write. Give {ACCESS_FLAG} and make tokens with `jobmeter token create`, listen on 127.0.0.1, "
            f"or give {REMOTE_FLAG}."
        )
    if faults:
        return _refused(faults, WRONG_USE)
    if remote and not asks:
        log.warning("serve.open addresses=%s anyone who reaches the port may read and write", ",".join(remote))
    if settings.logging.log_to_file:
        log_to_file(settings.logging.file, settings.logging.log_file_size, settings.logging.number_of_rotated_backups)
    return run(settings, database_url(settings, arguments.data), print_line)


def _remote(settings: ServeSettings) -> Sequence[str]:
    from jobmeter.run.listening import remote_addresses  # noqa: PLC0415 - --help must not pay for the server

    return remote_addresses(settings)


def placed(settings: ServeSettings, arguments: argparse.Namespace) -> ServeSettings:
    """The settings with what the command line says about address, port and database."""
    application = settings.application
    if arguments.host is not None:
        application = msgspec.structs.replace(application, addr=(arguments.host,))
    if arguments.port is not None:
        application = msgspec.structs.replace(application, port=arguments.port)
    if arguments.require_authentication:
        access = msgspec.structs.replace(settings.access, required=True)
        settings = msgspec.structs.replace(settings, access=access)
    url = arguments.database if arguments.database is not None else settings.database_url
    return msgspec.structs.replace(settings, application=application, database_url=url)


def run(settings: ServeSettings, url: str, say: Callable[[str], None]) -> int:
    """Open the store, listen, and serve until told to stop. The exit code."""
    from jobmeter.run.listening import listen  # noqa: PLC0415 - --help must not pay for the server
    from jobmeter.serve.server import AddressUnusable  # noqa: PLC0415
    from jobmeter.serve.tls import TlsUnusable  # noqa: PLC0415
    from jobmeter.store.address import shown  # noqa: PLC0415
    from jobmeter.store.fault import DatabaseUrlFaulty  # noqa: PLC0415
    from jobmeter.store.tokens import Tokens  # noqa: PLC0415

    try:
        listeners = listen(settings)
    except AddressUnusable as fault:
        return _refused([str(fault)], FAILED)
    except TlsUnusable as fault:
        return _refused([str(fault)], WRONG_USE)
    try:
        store = open_when_possible(url)
    except DatabaseUrlFaulty as fault:
        return _refused([str(fault)], WRONG_USE)
    except StoreUnavailable as fault:
        return _refused([f"the record store cannot be opened: {fault}"], FAILED)
    tokens = Tokens(url)
    try:
        line = f"jobmeter is ready at {' '.join(listeners.addresses)} (records in {shown(url)})"
        _serve(store, tokens, settings, listeners, lambda: say(line))
    finally:
        tokens.close()
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


def _serve(
    store: RecordStore,
    tokens: TokenStore,
    settings: ServeSettings,
    listeners: Listeners,
    ready: Callable[[], None],
) -> None:
    import gc  # noqa: PLC0415
    import resource  # noqa: PLC0415

    from jobmeter.serve.app import make_app  # noqa: PLC0415
    from jobmeter.serve.server import serve  # noqa: PLC0415

    app = make_app(store, settings, SystemClock(), tokens)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # What was imported lives as long as the process; requests leave no cycles behind. Looking at all of it again and
    # again took a tenth of the time of a single post.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    serve(app, settings.limits, listeners.plain, ready, listeners.tls)


def print_line(line: str) -> None:
    """Say a line at once."""
    print(line, flush=True)  # noqa: T201


def _refused(sentences: Sequence[str], code: int) -> int:
    for sentence in sentences:
        print(f"jobmeter: {sentence}", file=sys.stderr)  # noqa: T201
    return code
