"""The client that keeps what is written on disk until the server has it."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from jobmeter.client import exchange
from jobmeter.client.access import Access
from jobmeter.client.blocking import Client
from jobmeter.client.errors import (
    ClientError,
    NotFoundError,
    QueueError,
    RefusedError,
    TooLargeError,
    UnavailableError,
)
from jobmeter.client.exchange import Group
from jobmeter.client.outcome import RecordOutcome
from jobmeter.client.query import Query
from jobmeter.deliver.fault import SpoolCorrupt, SpoolFault
from jobmeter.deliver.pump import Pump
from jobmeter.deliver.retry import Backoff
from jobmeter.deliver.settings import BackoffSettings, SpoolSettings
from jobmeter.deliver.spool import RECORD_FORMAT, Spool, Status
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.model.record import Record
from jobmeter.wire.auditor import encode_record

STOP_FORMAT = "auditor-stop/1"
"""A queued stop time: the body of a `PUT /record`."""

_SOURCE = "client"
_ONE = b'"start_time":'
"""A record has this key and a stop time has not; within a JSON string a quote is escaped, so it is never in a value."""
_END_SECONDS = 60.0

log = logging.getLogger("jobmeter.client")


class QueuedClient:
    """Writes go into the queue, a file, and from there to the server, in groups and in order, also after a restart.

    What was queued is durable when `add` returns. What the server refuses for good becomes a dead letter of the queue
    with its reason (`dead_letters`; `jobmeter spool FILE` shows and mends them). Reads ask the server. Several
    processes may share one file. `send_every_seconds` is the shortest pause between two groups.
    """

    def __init__(
        self, access: Access | str, queue: Path | str, *, max_bytes: int = 2**30, send_every_seconds: float = 0.0
    ) -> None:
        self._client = Client(access)
        access = self._client.access
        lease = 2 * (access.answer_seconds + access.connect_seconds)
        settings = SpoolSettings(max_bytes=max_bytes, lease_seconds=lease)
        with _queue_errors():
            self._spool = Spool(Path(queue), settings, _Clock())
        self._stop = threading.Event()
        self._sink = _Delivery(access, self._spool)
        self._pause_seconds = send_every_seconds
        self._thread = threading.Thread(target=self._deliver, name="jobmeter-queue", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, record: Record) -> None:
        """Queue one record, durable on return. Raises QueueError."""
        self.add_many([record])

    def add_many(self, records: Iterable[Record]) -> None:
        """Queue many records, all or none. Raises QueueError."""
        self.queue(RECORD_FORMAT, [encode_record(record) for record in records])

    def stop(self, record_id: str, stop_time: datetime) -> None:
        """Queue the stop time of a record, which may still be in the queue itself. Raises QueueError."""
        if stop_time.tzinfo is None:
            raise ValueError("a time needs a zone, such as datetime.UTC")
        self.queue(STOP_FORMAT, [exchange.stop_body(record_id, stop_time)])

    def is_healthy(self) -> bool:
        """See Client."""
        return self._client.is_healthy()

    def get(self, record_id: str) -> Record:
        """See Client. What is still in the queue is not found."""
        return self._client.get(record_id)

    def records(self, query: Query | str = "") -> Iterator[Record]:
        """See Client. What is still in the queue is not found."""
        return self._client.records(query)

    def status(self) -> Status:
        """What the queue holds. Raises QueueError."""
        with _queue_errors():
            return self._spool.status()

    def dead_letters(self, limit: int = 20) -> list[DeadLetter]:
        """What of this queue the server refused for good, newest first. Raises QueueError."""
        with _queue_errors():
            return self._spool.letters(limit)

    def flush(self, seconds: float) -> bool:
        """Wait until the queue is empty; False when it is not after so long."""
        patience = threading.Event()
        for _ in range(max(1, round(seconds / 0.05))):
            if not self.status().entries:
                return True
            if not self._thread.is_alive():
                return False
            patience.wait(0.05)
        return not self.status().entries

    def stop_sending(self) -> None:
        """Send nothing more; what is queued, also from now on, waits for the next client on this file."""
        self._stop.set()
        self._thread.join(_END_SECONDS)

    def close(self) -> None:
        """End sending and close; what is queued stays in the file."""
        self.stop_sending()
        self._sink.close()
        self._client.close()
        with _queue_errors():
            self._spool.close()

    def queue(self, kind: str, bodies: Sequence[bytes]) -> None:
        """Queue encoded records (RECORD_FORMAT) or stop times (STOP_FORMAT), durable on return. Raises QueueError."""
        with _queue_errors():
            self._spool.enqueue(_SOURCE, kind, bodies)

    def _deliver(self) -> None:
        waits = BackoffSettings(longest_seconds=self._client.access.longest_wait_seconds)
        pump = Pump(
            self._spool,
            self._sink,
            self._stop,
            backoff=Backoff(waits, random.random),
            wait=lambda seconds: self._stop.wait(max(seconds, self._pause_seconds)),
        )
        try:
            pump.run()
        except SpoolCorrupt as fault:
            log.error("client.queue_damaged reason=%r", str(fault))  # noqa: TRY400 - a state of affairs, no bug


class _Delivery:
    """The queue's sink: records by `POST /v2/records`, then stop times one by one."""

    batch_limit = exchange.GROUP_RECORDS

    def __init__(self, access: Access, spool: Spool) -> None:
        # Tried once: the pump repeats, and keeps its own waits.
        self._client = Client(replace(access, attempts=1))
        self._spool = spool

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """See jobmeter.contract.Sink."""
        records = [(at, item) for at, item in enumerate(items) if _ONE in item]
        outcomes: dict[int, Outcome] = {}
        keep: Keep | None = None
        for group in exchange.cut(records, lambda item: len(item[1])):
            told = [keep] * len(group) if keep else self._records([body for _, body in group])
            outcomes.update(zip((at for at, _ in group), told, strict=True))
            keep = next((one for one in told if isinstance(one, Keep)), None)
        for at, item in enumerate(items):
            if at in outcomes:
                continue
            outcome = outcomes[at] = keep or self._stop(item, waiting=len(items))
            if isinstance(outcome, Keep) and outcome.reason != UNKNOWN:
                keep = outcome  # the server is away: no use to ask it again for each
        return [outcomes[at] for at in range(len(items))]

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _records(self, bodies: Sequence[bytes]) -> list[Outcome]:
        group = Group(tuple("" for _ in bodies), tuple(bodies))
        try:
            return [_outcome(one) for one in self._client.ask(group.call)]
        except TooLargeError as error:
            if len(bodies) == 1:
                return [Rejected(str(error))]
            middle = len(bodies) // 2
            return [*self._records(bodies[:middle]), *self._records(bodies[middle:])]
        except ClientError as error:
            return [_kept(error)] * len(bodies)

    def _stop(self, body: bytes, *, waiting: int) -> Outcome:
        try:
            self._client.ask(exchange.Call("PUT", "/record", lambda _: None, body))
        except NotFoundError as error:
            # Its record may still be in the queue, kept back by a fault of its own.
            return Keep(reason=UNKNOWN) if self._spool.status().entries > waiting else Rejected(str(error))
        except ClientError as error:
            if isinstance(error, RefusedError) and error.status in (400, 413, 415, 422):
                return Rejected(str(error))
            return _kept(error)
        return Accepted()


UNKNOWN = "the record that stops is not known yet"


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def _outcome(told: RecordOutcome) -> Outcome:
    if told.stored:
        return Accepted()
    reason = ": ".join(part for part in (told.field, told.reason) if part)
    if told.outcome == "forbidden":
        return Keep(reason=f"this client may not write it; mend its access ({reason})")
    return Rejected(f"{told.outcome}: {reason}" if reason else told.outcome)


def _kept(error: ClientError) -> Keep:
    return Keep(error.retry_after_seconds if isinstance(error, UnavailableError) else 0.0, str(error))


@contextmanager
def _queue_errors() -> Iterator[None]:
    try:
        yield
    except SpoolFault as fault:
        raise QueueError(str(fault)) from fault
    except OSError as fault:
        raise QueueError(str(fault)) from fault
