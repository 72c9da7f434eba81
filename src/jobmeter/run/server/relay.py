"""Sends received facility documents on to another endpoint or to Elasticsearch, beside the server.

The store is the queue: a bookmark tells up to which number all was taken there. So nothing waits in memory, and a relay
that was away for long goes on where it was, as long as documents are kept.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from jobmeter.contract import Bookmarks, DocumentStore, Sink, StoreUnavailable
from jobmeter.deliver.lockfile import alone
from jobmeter.deliver.retry import Backoff
from jobmeter.deliver.settings import BackoffSettings
from jobmeter.model.facility import Received
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.peer import TlsFilesUnusable
from jobmeter.serve.settings import Relay
from jobmeter.sinks import documents, elasticsearch_documents
from jobmeter.wire.document import encode_fields

BOOKMARK = "documents relay"
IDLE_SECONDS = 2.0

_END_SECONDS = 40.0

log = logging.getLogger("jobmeter.run")


class RelayUnusable(Exception):  # noqa: N818 - the name says the fact
    """Documents cannot be sent on as the settings say."""


@contextmanager
def relaying(
    settings: Relay | None, store: DocumentStore, bookmarks: object, shared: str | None = None
) -> Iterator[None]:
    """Documents are sent on within; nothing is done without settings. Raises RelayUnusable.

    Where several processes serve, `shared` is a folder of theirs: one of them relays, and when it ends, another.
    """
    if settings is None:
        yield
        return
    if not isinstance(bookmarks, Bookmarks):
        raise RelayUnusable("this record store keeps no bookmarks")
    stop = threading.Event()
    try:
        sink = sink_of(settings)
    except (TlsFilesUnusable, ValueError) as fault:
        raise RelayUnusable(str(fault)) from fault
    turn = nullcontext(True) if shared is None else _turn(Path(shared) / "relay.turn", stop)
    forwarder = Forwarder(store, bookmarks, sink, stop)

    def relay() -> None:
        with turn as ours:
            if ours:
                forwarder.run()

    thread = threading.Thread(target=relay, name="relay", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_END_SECONDS)
        sink.close()


@contextmanager
def _turn(file: Path, stop: threading.Event) -> Iterator[bool]:
    """Waits until nobody else has the turn; False when it was stopped before. The kernel ends it with the process."""
    while not stop.is_set():
        with alone(file) as ours:
            if ours:
                yield True
                return
        stop.wait(IDLE_SECONDS)
    yield False


def sink_of(settings: Relay) -> Sink:
    """The sink that the settings mean."""
    if settings.elasticsearch_index is not None:
        return elasticsearch_documents.open_sink(
            elasticsearch_documents.Settings(
                address=settings.url,
                index=settings.elasticsearch_index,
                api_key=settings.token,
                api_key_file=settings.token_file,
                batch_limit=settings.array,
                ca_file=settings.ca_file,
            )
        )
    return documents.open_sink(
        documents.Settings(
            url=settings.url,
            token=settings.token,
            token_file=settings.token_file,
            array=settings.array,
            timestamps="always",
            ca_file=settings.ca_file,
        )
    )


class Forwarder:
    """Goes through the store from the bookmark on until `stop`."""

    def __init__(self, store: DocumentStore, bookmarks: Bookmarks, sink: Sink, stop: threading.Event) -> None:
        self._store = store
        self._bookmarks = bookmarks
        self._sink = sink
        self._stop = stop
        self._backoff = Backoff(BackoffSettings(), random.random)

    def run(self) -> None:
        """Send on until the stop; whatever goes wrong is tried again, ever less often."""
        failures = 0
        while not self._stop.is_set():
            try:
                sent, reason = self.step()
            except StoreUnavailable as fault:
                sent, reason = 0, str(fault)
            except Exception as fault:  # a supervisor: the server goes on, and so does the relay
                log.exception("relay.failed")
                sent, reason = 0, repr(fault)
            if reason:
                failures += 1
                if failures == 1:
                    log.warning("relay.kept reason=%r", reason)
                self._stop.wait(self._backoff.delay_seconds(failures))
            else:
                if failures:
                    log.info("relay.recovered failures=%d", failures)
                failures = 0
                if not sent:
                    self._stop.wait(IDLE_SECONDS)

    def step(self) -> tuple[int, str]:
        """Send the next documents. How many the other side has taken for good, and why not more, or "".

        Documents before the first that was kept are done with; one that is refused for good is logged and passed over.
        """
        done = int(self._bookmarks.bookmark(BOOKMARK) or 0)
        waiting = self._store.after(done, self._sink.batch_limit)
        if not waiting:
            return 0, ""
        outcomes = self._sink.send([_item(document) for document in waiting])
        taken = _taken(outcomes)
        for document, outcome in zip(waiting[:taken], outcomes, strict=False):
            if isinstance(outcome, Rejected):
                log.error("relay.rejected number=%s reason=%r", document.number, outcome.reason)
        if taken:
            self._bookmarks.keep_bookmark(BOOKMARK, str(waiting[taken - 1].number))
        kept = outcomes[taken] if taken < len(outcomes) else Accepted()
        return taken, kept.reason or "kept" if isinstance(kept, Keep) else ""


def _taken(outcomes: Sequence[Outcome]) -> int:
    return next((place for place, outcome in enumerate(outcomes) if isinstance(outcome, Keep)), len(outcomes))


def _item(document: Received) -> bytes:
    return encode_fields(document.observed, document.body)
