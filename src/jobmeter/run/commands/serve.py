"""`jobmeter serve`: the record store behind the REST server, until it is told to stop.

Its settings come in layers (`jobmeter.run.server.settings`); the command line wins.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from jobmeter.contract import DocumentStore, RecordStore, StoreUnavailable
from jobmeter.keeping import ConflictStore, PublicationStore, SampleStore, SummaryStore, TokenStore
from jobmeter.observe.host import SystemClock
from jobmeter.run.log import log_to_file, set_level
from jobmeter.run.server.database_options import add_data
from jobmeter.run.server.reach import remote_addresses
from jobmeter.run.server.settings import database_url, load_settings
from jobmeter.run.server.workers import Work, Workers
from jobmeter.serve.policy import policy_of
from jobmeter.serve.settings import SHARED_FOLDER, ServeSettings, TlsConfig, not_offered, tls_of
from jobmeter.settings.fault import WrongValue

if TYPE_CHECKING:
    from jobmeter.run.server.listening import Listeners
    from jobmeter.serve.app import Application
    from jobmeter.store.open import ArchivingStore

SUMMARY: str = "serves the account on SQLite or PostgreSQL: pages, and an interface for programs"
SETTINGS = "jobmeter.serve.settings:ServeSettings"

FAILED = 1
WRONG_USE = 2
ACCESS_FLAG = "--require-authentication"
REMOTE_FLAG = "--allow-remote-without-authentication"

log = logging.getLogger("jobmeter.run")


class Stores(NamedTuple):
    """What the server keeps, all in one database."""

    records: RecordStore
    tokens: TokenStore
    documents: DocumentStore
    summaries: SummaryStore
    conflicts: ConflictStore
    publications: PublicationStore


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
    add_data(parser)
    parser.add_argument(
        "--database", metavar="URL", help="sqlite:///PATH or postgresql://… (default: sqlite:///DATA/records.db)"
    )
    parser.add_argument(
        "--workers", metavar="N", type=_workers, help="worker processes, on PostgreSQL (application.web_workers)"
    )
    parser.add_argument(
        "--tls-certificate",
        metavar="FILE",
        help="serve HTTPS, too, with this certificate (tls_config.server_cert_path)",
    )
    parser.add_argument("--tls-key", metavar="FILE", help="its private key (tls_config.server_key_path)")
    parser.add_argument("--https-host", metavar="ADDRESS", help="address of HTTPS (default: that of --host)")
    parser.add_argument("--https-port", metavar="PORT", type=_port, help="port of HTTPS (default: 8443)")
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


def _workers(text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes from 1 to 999")
    return count


def execute(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. 0 after an orderly stop, 1 when it cannot start here, 2 for wrong settings."""
    found = prepared(arguments)
    return found if isinstance(found, int) else run(*found, print_line)


def prepared(arguments: argparse.Namespace) -> tuple[ServeSettings, str] | int:
    """The settings and the address of the store, once it is clear that they may be used; else the exit code."""
    loaded = load_settings(arguments.config, os.environ, Path.cwd(), as_auditor=arguments.as_auditor)
    for note in loaded.notes:
        log.warning("settings.note %s", note)
    try:
        settings = placed(loaded.settings, arguments)
    except WrongValue as fault:
        return _refused([f"--tls-certificate and --tls-key go together: {fault.key} {fault.reason}"], WRONG_USE)
    if arguments.log_level is None:
        set_level(settings.log_level)
    remote = remote_addresses(settings)
    faults = not_offered(settings)
    asks = policy_of(settings).asks
    if remote and not (asks or arguments.allow_remote or arguments.as_auditor):
        faults.append(
            f"{', '.join(remote)} can be reached from other machines, and nobody is asked who they are: anyone could "
            f"read and write. Give {ACCESS_FLAG} and make tokens with `jobmeter token create`, listen on 127.0.0.1, "
            f"or give {REMOTE_FLAG}."
        )
    if faults or (faults := _tls_faults(settings)):
        return _refused(faults, WRONG_USE)
    if remote and not asks:
        log.warning("serve.open addresses=%s anyone who reaches the port may read and write", ",".join(remote))
    if settings.logging.log_to_file:
        log_to_file(settings.logging.file, settings.logging.log_file_size, settings.logging.number_of_rotated_backups)
    return settings, database_url(settings, arguments.data)


def placed(settings: ServeSettings, arguments: argparse.Namespace) -> ServeSettings:
    """The settings with what the command line says about addresses, ports, TLS and database. Raises WrongValue."""
    application = settings.application
    if arguments.host is not None:
        application = msgspec.structs.replace(application, addr=(arguments.host,))
    if arguments.port is not None:
        application = msgspec.structs.replace(application, port=arguments.port)
    if arguments.workers is not None:
        application = msgspec.structs.replace(application, web_workers=arguments.workers)
    if arguments.require_authentication:
        access = msgspec.structs.replace(settings.access, required=True)
        settings = msgspec.structs.replace(settings, access=access)
    settings = msgspec.structs.replace(settings, tls_config=_tls_placed(settings.tls_config, arguments))
    url = arguments.database if arguments.database is not None else settings.database_url
    return msgspec.structs.replace(settings, application=application, database_url=url)


def _tls_placed(tls: TlsConfig | None, arguments: argparse.Namespace) -> TlsConfig | None:
    """TLS with what the command line says of it. A certificate there switches it on, and asks clients for none."""
    told: dict[str, Any] = {}
    if arguments.tls_certificate is not None or arguments.tls_key is not None:
        told = {"use_tls": True, "server_cert_path": arguments.tls_certificate, "server_key_path": arguments.tls_key}
        if tls is None or not tls.use_tls:
            told["client_certificates"] = "none"
    if arguments.https_host is not None:
        told["https_addr"] = (arguments.https_host,)
    if arguments.https_port is not None:
        told["https_port"] = arguments.https_port
    if not told:
        return tls
    before = {} if tls is None else msgspec.structs.asdict(tls)
    return TlsConfig(**{"use_tls": False, **before, **told})


def _tls_faults(settings: ServeSettings) -> list[str]:
    """Why certificate and key cannot be used; nothing when they can, or there are none."""
    tls = tls_of(settings)
    if tls is None:
        return []
    from jobmeter.serve.tls import TlsUnusable, tls_context  # noqa: PLC0415 - --help must not pay for it

    try:
        tls_context(tls)
    except TlsUnusable as fault:
        return [str(fault)]
    return []


def run(settings: ServeSettings, url: str, say: Callable[[str], None]) -> int:
    """Listen, open the store, and serve until told to stop. The exit code."""
    from jobmeter.store.address import shown  # noqa: PLC0415 - --help must not pay for the server
    from jobmeter.store.fault import DatabaseUrlFaulty  # noqa: PLC0415

    try:
        count = worker_count(settings, url)
        with shared_counts(count):
            # Not before: the library that counts settles where, when it is loaded.
            from jobmeter.run.server.archiving import archive_place_fault  # noqa: PLC0415
            from jobmeter.run.server.listening import Unable, listen  # noqa: PLC0415

            if (missing := archive_place_fault(settings, url)) is not None:
                return _refused([missing], WRONG_USE)
            try:
                listeners = listen(settings)
            except Unable as fault:
                return _refused([str(fault)], WRONG_USE if fault.wrong_use else FAILED)
            line = f"jobmeter is ready at {' '.join(listeners.addresses)} (records in {shown(url)})"
            if count == 1:
                return _work(settings, url, listeners, lambda: say(line))
            open_when_possible(url).close()  # one brings the schema up to date, for all
            return _watch(count, lambda ready: _work(settings, url, listeners, ready), lambda: say(line))
    except DatabaseUrlFaulty as fault:
        return _refused([str(fault)], WRONG_USE)
    except StoreUnavailable as fault:
        return _refused([f"the record store cannot be opened: {fault}"], FAILED)


def worker_count(settings: ServeSettings, url: str) -> int:
    """How many processes serve: SQLite has one writer at a time, so there more would only wait for one another."""
    from jobmeter.store.address import sqlite_path  # noqa: PLC0415

    wanted = settings.application.web_workers or 1
    if wanted > 1 and sqlite_path(url) is not None:
        log.warning("serve.one_worker wanted=%d SQLite has one writer; several processes need PostgreSQL", wanted)
        return 1
    return wanted


@contextmanager
def shared_counts(workers: int) -> Iterator[None]:
    """Where several workers keep what they count together, so that any of them can tell the sum."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="jobmeter-counts-") as folder:
        os.environ[SHARED_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[SHARED_FOLDER]


def _watch(count: int, work: Work, ready: Callable[[], None]) -> int:
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    return Workers(count, work, ready, mark_process_dead).run()


def _work(settings: ServeSettings, url: str, listeners: Listeners, ready: Callable[[], None]) -> int:
    """Serve over a store of its own, and archive beside it. What a single process does, and each of several."""
    from jobmeter.run.server.archiving import ArchiveShown, folder_of, scheduled_archive  # noqa: PLC0415
    from jobmeter.run.server.relay import RelayUnusable, relaying  # noqa: PLC0415
    from jobmeter.serve.app import make_app  # noqa: PLC0415
    from jobmeter.serve.table import Beside  # noqa: PLC0415
    from jobmeter.store.conflicts import Conflicts  # noqa: PLC0415
    from jobmeter.store.documents import Documents  # noqa: PLC0415
    from jobmeter.store.publications import Publications  # noqa: PLC0415
    from jobmeter.store.summaries import Summaries  # noqa: PLC0415
    from jobmeter.store.tokens import Tokens  # noqa: PLC0415

    try:
        samples = open_samples(settings)
    except OSError as fault:
        return _refused([f"the folder of samples cannot be made: {fault}"], FAILED)
    records = open_when_possible(url, folder_of(settings, url))
    stores = Stores(records, Tokens(url), Documents(url), Summaries(url), Conflicts(url), Publications(url))
    shared = os.environ.get(SHARED_FOLDER)
    archive = scheduled_archive(records, settings, url)
    shown = ArchiveShown(records, archive)
    beside = Beside(samples, stores.summaries, stores.publications, stores.conflicts, shown)
    app = make_app(stores.records, settings, SystemClock(), stores.tokens, stores.documents, beside=beside)
    if archive is not None:
        app.tell(archive.meter)

    def begin() -> None:
        ready()
        if archive is not None:
            archive.start()

    try:
        with relaying(settings.documents.relay, stores.documents, stores.records, shared):
            _serve(app, settings, listeners, begin)
    except RelayUnusable as fault:
        return _refused([f"documents.relay: {fault}"], WRONG_USE)
    finally:
        if archive is not None:
            archive.stop()
        if samples is not None:
            samples.close()
        for each in reversed(stores):
            each.close()
    return 0


def open_when_possible(url: str, archive_folder: Path | None = None) -> ArchivingStore:
    """The store, its schema brought up to date. A PostgreSQL server that does not answer yet is waited for.

    Raises DatabaseUrlFaulty, and StoreUnavailable when nothing would change by waiting.
    """
    from jobmeter.store.address import sqlite_path  # noqa: PLC0415
    from jobmeter.store.fault import SchemaUnfit  # noqa: PLC0415
    from jobmeter.store.open import open_store  # noqa: PLC0415

    try:
        return open_store(url, migrate=True, archive_folder=archive_folder)
    except SchemaUnfit:
        raise
    except StoreUnavailable as fault:
        if sqlite_path(url) is not None:
            raise
        log.warning("store.awaited reason=%r", str(fault))
        return open_store(url, archive_folder=archive_folder)


def open_samples(settings: ServeSettings) -> SampleStore | None:
    """The sample store, where one is set. Raises OSError."""
    path = settings.samples.path
    if path is None:
        return None
    from jobmeter.store.samples.open import SampleFolder  # noqa: PLC0415 - numpy, only where there are samples

    return SampleFolder(path, settings.samples.bounds, SystemClock())


def _serve(
    app: Application,
    settings: ServeSettings,
    listeners: Listeners,
    ready: Callable[[], None],
) -> None:
    import gc  # noqa: PLC0415
    import resource  # noqa: PLC0415

    from jobmeter.serve.server import serve  # noqa: PLC0415

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
