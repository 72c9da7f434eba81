"""A run of `jobmeter facility`: observe every section, spool what may leave, deliver, and end in time.

Each section stands alone: what one cannot tell is logged and told by the exit status, and the others go out. Documents
and the place that a section reached are stored together, so that nothing is told twice or left out by a crash.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from msgspec import Struct

from jobmeter.contract import DocumentBatch, Sink, SourceAbsent, SourceUnreadable
from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.lockfile import alone
from jobmeter.deliver.pump import Pump
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.document import Document
from jobmeter.observe.host import Host
from jobmeter.observe.people.disguise import host_pseudonym, pseudonym
from jobmeter.observe.people.members import Members
from jobmeter.observe.people.shape import Shape
from jobmeter.run.facility.plan import Chosen, Plan
from jobmeter.run.facility.settings import FacilitySettings, spool_file
from jobmeter.run.facility.veil import Veil
from jobmeter.sinks import document_files, documents
from jobmeter.sinks.documents import DocumentSink
from jobmeter.wire.document import decode_document, encode_document

OK, FAILED = 0, 1

_LEAST_DELIVERY_SECONDS = 1.0
_DOCUMENTS_AT_ONCE = 1000

log = logging.getLogger("jobmeter.run")


class Overdue(BaseException):
    """The time of a run is over. Not an Exception: no supervisor may keep it."""


class Tally(Struct):
    """What a run observed: documents, and parts that it could not."""

    documents: int = 0
    repeated: int = 0
    unreadable: int = 0


def run(chosen: Plan, host: Host, *, to_files: Path | None) -> int:
    """One run, or runs until a signal. 1 when something could not be observed or delivered."""
    settings = chosen.settings
    try:
        shape, veil = shape_of(settings, host)
        file = spool_file(settings)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (SourceUnreadable, OSError) as fault:
        log.error("facility.failed reason=%r", str(fault))  # noqa: TRY400 - a state of affairs, no bug
        return FAILED
    if to_files is not None:
        # What is written to files was not sent: it has a spool, and with it places reached, of its own.
        file = file.with_name(f"{file.name}.debug")
    try:
        with alone(file.with_name(f"{file.name}.run")) as ours, veil.over_logs():
            if not ours:
                log.error("facility.overlap another run is under way spool=%s", file)
                return FAILED
            return _Rounds(chosen, host, shape, file, to_files).go()
    except (SpoolFault, OSError) as fault:
        log.error("facility.failed reason=%r", str(fault))  # noqa: TRY400
        return FAILED


def print_documents(chosen: Plan, host: Host) -> int:
    """The dry run: documents as they would be sent, one a line. Places that were reached are not looked at."""
    try:
        shape, veil = shape_of(chosen.settings, host)
    except (SourceUnreadable, OSError) as fault:
        log.error("facility.failed reason=%r", str(fault))  # noqa: TRY400
        return FAILED
    tally = Tally()
    with veil.over_logs():
        for section in chosen.sections:
            for batch in _observed(section, host, None, tally):
                for document in _shaped(batch, shape).documents:
                    sys.stdout.write(bytes(decode_document(encode_document(document)).document).decode() + "\n")
    return FAILED if tally.unreadable else OK


def shape_of(settings: FacilitySettings, host: Host) -> tuple[Shape, Veil]:
    """What is done with documents, and what is hidden in logs. Raises SourceUnreadable and OSError."""
    key = b""
    if settings.obfuscate_users and settings.hmac_key_file is not None:
        key = Path(settings.hmac_key_file).read_bytes().strip()
        if not key:
            raise SourceUnreadable(f"{settings.hmac_key_file} holds no key")
    domain = settings.obfuscate_hosts
    veil = Veil(
        host.name,
        user=pseudonym(settings.user_hash, settings.salt, key) if settings.obfuscate_users else None,
        host=(lambda name: host_pseudonym(name, domain)) if domain else None,
    )
    members = None if settings.group is None else Members(settings.group)
    return Shape(settings.cluster, members, veil.user, veil.host), veil


class _Rounds:
    """Runs over one spool."""

    def __init__(self, chosen: Plan, host: Host, shape: Shape, file: Path, to_files: Path | None) -> None:
        self._chosen = chosen
        self._settings = chosen.settings
        self._host = host
        self._shape = shape
        self._file = file
        self._to_files = to_files
        self._stop = threading.Event()

    def go(self) -> int:
        settings = self._settings.spool
        bounds = SpoolSettings(
            max_bytes=settings.max_bytes, when_full=settings.when_full, max_age_days=settings.max_age_days
        )
        sink = self._sink()
        try:
            with Spool(self._file, bounds, self._host.clock) as spool:
                if self._settings.every_seconds is None:
                    return self._once(spool, sink)
                return self._again_and_again(spool, sink, self._settings.every_seconds)
        finally:
            sink.close()

    def _sink(self) -> Sink:
        if self._to_files is None:
            return documents.open_sink(self._settings.send)
        return document_files.open_sink(
            document_files.Settings(folder=str(self._to_files), token=self._settings.send.token)
        )

    def _again_and_again(self, spool: Spool, sink: Sink, every_seconds: float) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        due = time.monotonic()
        while not self._stop.is_set():
            self._once(spool, sink)
            due = max(due + every_seconds, time.monotonic())
            self._stop.wait(max(0.0, due - time.monotonic()))
        return OK

    def _asked_to_stop(self, number: int, _: FrameType | None) -> None:
        log.info("facility.stopping signal=%s", signal.Signals(number).name)
        self._stop.set()

    def _once(self, spool: Spool, sink: Sink) -> int:
        """Observe and deliver within the time."""
        began = time.monotonic()
        every, within = self._settings.every_seconds, self._settings.within_seconds
        end = began + (within if every is None else min(within, max(every, 1.0)))
        tally = Tally()
        try:
            with _alarm(end - began):
                for section in self._chosen.sections:
                    self._take(section, spool, tally)
                delivered, rejected = self._deliver(spool, sink, end)
        except Overdue:
            log.error("facility.overdue seconds=%g what is spooled is sent by the next run", within)  # noqa: TRY400
            return FAILED
        waiting = spool.status().entries
        log.info(
            "facility.done documents=%d repeated=%d unreadable=%d rejected=%d waiting=%d seconds=%.3f",
            tally.documents,
            tally.repeated,
            tally.unreadable,
            rejected,
            waiting,
            time.monotonic() - began,
        )
        return OK if delivered and not rejected and not tally.unreadable else FAILED

    def _take(self, section: Chosen, spool: Spool, tally: Tally) -> None:
        source = f"facility {section.name} {self._settings.cluster}"
        batches = _observed(section, self._host, spool.cursor(source), tally)
        for batch in _gathered(_shaped(batch, self._shape) for batch in batches):
            done = spool.absorb(source, batch)
            tally.documents += done.queued
            tally.repeated += done.repeated

    def _deliver(self, spool: Spool, sink: Sink, end: float) -> tuple[bool, int]:
        """Whether all was delivered, and how many documents were refused for good."""
        now = time.monotonic()
        wanted = self._settings.deliver_seconds if self._to_files is None else _LEAST_DELIVERY_SECONDS
        seconds = min(wanted, max(_LEAST_DELIVERY_SECONDS, end - now - 1.0))
        if isinstance(sink, DocumentSink):
            sink.until = now + seconds
        pump = Pump(spool, sink, self._stop)
        delivered = pump.drain(seconds)
        if not delivered and not self._stop.is_set():
            log.warning("facility.not_delivered reason=%r", pump.stats.reason or "the time was over")
        return delivered, pump.stats.rejected


def _observed(section: Chosen, host: Host, cursor: str | None, tally: Tally) -> Iterator[DocumentBatch]:
    """The batches of a section; whatever goes wrong in it is logged and counted, and ends it only."""
    try:
        for batch in section.plugin.open_section(section.settings, host).read(cursor):
            for reason in batch.unreadable:
                tally.unreadable += 1
                log.error("facility.unreadable section=%s reason=%r", section.name, reason)
            yield batch
    except (SourceAbsent, SourceUnreadable) as fault:
        tally.unreadable += 1
        log.error("facility.unreadable section=%s reason=%r", section.name, str(fault))  # noqa: TRY400
    except SpoolFault:
        raise
    except Exception:  # a supervisor: a fault of one section must not silence the others
        tally.unreadable += 1
        log.exception("facility.section_failed section=%s", section.name)


def _shaped(batch: DocumentBatch, shape: Shape) -> DocumentBatch:
    found = (shape.shaped(document) for document in batch.documents)
    return DocumentBatch(tuple(document for document in found if document is not None), batch.cursor)


def _gathered(batches: Iterable[DocumentBatch]) -> Iterator[DocumentBatch]:
    """The same in fewer and larger batches: each costs a write that waits for the disk."""
    documents: list[Document] = []
    cursor = ""
    for batch in batches:
        documents += batch.documents
        cursor = batch.cursor or cursor
        if len(documents) >= _DOCUMENTS_AT_ONCE:
            yield DocumentBatch(tuple(documents), cursor)
            documents, cursor = [], ""
    if documents or cursor:
        yield DocumentBatch(tuple(documents), cursor)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Overdue is raised within when it takes longer."""

    def late(_: int, __: FrameType | None) -> None:
        raise Overdue

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
