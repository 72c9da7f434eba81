"""The node's end: takes batches from the loop without ever holding it up, and gets them to a gatherer.

A thread of its own encodes, sends and waits for answers. With acknowledgement (DEALER) a frame is forgotten when a
gatherer has said that it is durable there; without (PUSH, and always in Colmet's form) when ZeroMQ has taken it. When
one gatherer does not answer, the next of the list is asked, and gets all that is not answered for.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import zmq
from msgspec import Struct, structs

from jobmeter.deliver.complaints import Complaints
from jobmeter.model.sample import SampleBatch
from jobmeter.transport.backlog import Backlog, Bounds
from jobmeter.transport.curve import Keys
from jobmeter.transport.link import AcknowledgedLink, Far, PushLink
from jobmeter.wire.frame import BadFrame, Head, encode_frame, read_head
from jobmeter.wire.frame_body import CatalogueText

_SAMPLES_IN_A_FRAME = 4000
_INBOX_MAX = 256
_WITH_HELP_EVERY = 60
_POLL_SECONDS, _IDLE_SECONDS = 1.0, 30.0
_SAVE_SECONDS = 5.0
_LINGER_MILLISECONDS = 500

log = logging.getLogger("jobmeter.transport")


class SenderSettings(Struct, frozen=True):
    """Where to send, and what may wait meanwhile. `spool_folder` None: in memory only.

    With `keys` and `gatherer_key` the link is encrypted, and only that gatherer is spoken to.
    """

    gatherers: tuple[str, ...] = ("tcp://127.0.0.1:5557",)
    acknowledge: bool = True
    high_water_mark: int = 1000
    linger_milliseconds: int = 0
    answer_seconds: float = 10.0
    spool_folder: Path | None = None
    bounds: Bounds = Bounds()
    keys: Keys | None = None
    gatherer_key: Keys | None = None


class SenderCounts(Struct):
    """Samples offered, sent (and answered for, where that is asked), refused as unreadable, and given up."""

    offered: int = 0
    sent: int = 0
    refused: int = 0
    dropped: int = 0
    switched: int = 0


class Sender:
    """A `SampleSender`. Raises SpoolUnavailable when its folder cannot be used.

    For the wire of Colmet, `colmet` makes the messages of a batch, each with the number of samples in it.
    """

    def __init__(
        self,
        settings: SenderSettings,
        node: str,
        *,
        colmet: Callable[[SampleBatch], Iterable[tuple[int, bytes]]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._node = node
        self._monotonic = monotonic
        self._counts = SenderCounts()
        self._stream = _number() | 1
        self._sequence = 0
        self._colmet = colmet
        self._catalogue = CatalogueText()
        self._complaints = Complaints(log)
        self._inbox: deque[SampleBatch] = deque()
        self._inbox_dropped = 0
        folder = settings.spool_folder
        form = "jobmeter" if colmet is None else "colmet"
        self._backlog = Backlog(None if folder is None else folder / form, settings.bounds, _key_of, monotonic)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closing = threading.Event()
        self._deadline = 0.0
        self._saved = monotonic()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    @property
    def tally(self) -> SenderCounts:
        """What became of the samples so far."""
        self._counts.dropped = self._backlog.dropped + self._inbox_dropped
        return self._counts

    def counts(self) -> dict[str, int]:
        """What became of the samples so far, what waits, and how often another gatherer was turned to, by name."""
        tally = self.tally
        return {
            "samples_offered": tally.offered,
            "samples_sent": tally.sent,
            "samples_refused": tally.refused,
            "samples_dropped": tally.dropped,
            "gatherers_switched": tally.switched,
            "messages_waiting": self.waiting,
            "spool_bytes": self.spool_bytes,
        }

    @property
    def waiting(self) -> int:
        """How many messages wait for a gatherer."""
        return self._backlog.waiting + len(self._inbox)

    @property
    def spool_bytes(self) -> int:
        """How many bytes the spool has on disk."""
        return self._backlog.disk_bytes

    def offer(self, batch: SampleBatch) -> None:
        """Take over a batch. Never blocks and never raises."""
        self._counts.offered += len(batch.samples)
        if len(self._inbox) >= _INBOX_MAX:
            self._inbox_dropped += len(self._inbox.popleft().samples)
        self._inbox.append(batch)
        os.eventfd_write(self._bell, 1)

    def close(self, linger_seconds: float) -> None:
        """Try for so long to send what waits, put the rest on disk, and release. Called once."""
        self._deadline = self._monotonic() + linger_seconds
        self._closing.set()
        os.eventfd_write(self._bell, 1)
        self._thread.join(linger_seconds + 10)
        os.close(self._bell)

    def _run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        settings = self._settings
        acknowledged = settings.acknowledge and self._colmet is None
        far = Far(
            settings.gatherers,
            settings.high_water_mark,
            settings.answer_seconds,
            settings.keys,
            settings.gatherer_key,
        )
        link = (AcknowledgedLink if acknowledged else PushLink)(context, far, self._monotonic)
        try:
            while not (self._closing.is_set() and self._is_over()):
                self._turn(link)
        finally:
            link.close()
            self._encode_inbox()
            self._backlog.close()
            context.destroy(linger=_linger(settings.linger_milliseconds))

    def _is_over(self) -> bool:
        return self._monotonic() >= self._deadline or (not self._inbox and not self._backlog.waiting)

    def _turn(self, link: AcknowledgedLink | PushLink) -> None:
        link.wait(self._bell, self._patience_seconds(), is_wanted=self._has_more(link))
        self._encode_inbox()
        for key, is_taken in link.answers():
            weight = self._backlog.weight_of(key)
            if self._backlog.done(key):
                if is_taken:
                    self._counts.sent += weight
                else:
                    self._counts.refused += weight
                    self._complaints.tell("node.refused", "the gatherer could not read a frame; it is given up")
        if link.is_overdue(self._backlog.out):
            self._counts.switched += 1
            link.switch()
            self._backlog.rewind()
        while self._backlog.out < link.window and link.is_ready():
            item = self._backlog.next()
            if item is None:
                break
            if not link.send(item.message):
                self._backlog.rewind()
                break
            if not link.is_answered:
                self._counts.sent += item.weight
                self._backlog.done(item.key)
        self._backlog.settle()
        if self._monotonic() - self._saved > _SAVE_SECONDS:
            self._saved = self._monotonic()
            self._backlog.save()

    def _patience_seconds(self) -> float:
        """How long to wait for the bell: where nothing waits for an answer or a gatherer, there is nothing to do."""
        if self._closing.is_set():
            return 0.05
        return _POLL_SECONDS if self._backlog.waiting else _IDLE_SECONDS

    def _has_more(self, link: AcknowledgedLink | PushLink) -> bool:
        return self._backlog.out < link.window and self._backlog.waiting > self._backlog.out

    def _encode_inbox(self) -> None:
        while self._inbox:
            batch = self._inbox.popleft()
            if self._colmet is not None:
                for weight, message in self._colmet(batch):
                    self._sequence += 1
                    self._backlog.append((self._stream, self._sequence), weight, message)
            else:
                for part in _parts(batch):
                    self._encode(part)

    def _encode(self, batch: SampleBatch, *, is_bounded: bool = False) -> None:
        head = Head(self._node, self._stream, self._sequence + 1, self.tally.dropped)
        try:
            with_help = self._sequence % _WITH_HELP_EVERY == 0
            frame = encode_frame(head, batch, with_help=with_help, catalogue=self._catalogue)
        except (OverflowError, ValueError) as fault:
            if not is_bounded:
                self._complaints.tell("node.values_left_out", str(fault))
                self._encode(_bounded(batch), is_bounded=True)
                return
            self._inbox_dropped += len(batch.samples)
            self._complaints.tell("node.not_encoded", str(fault))
            return
        self._sequence += 1
        self._backlog.append((self._stream, self._sequence), len(batch.samples), frame)


def _bounded(batch: SampleBatch) -> SampleBatch:
    """The batch without the numbers that are none: a counter of the kernel beyond 64 bits is a fault of the kernel."""
    samples = tuple(structs.replace(each, values=tuple(map(_sound, each.values))) for each in batch.samples)
    return SampleBatch(batch.node, samples, batch.metrics, batch.ends)


def _sound(value: int | float | None) -> int | float | None:
    return None if value is not None and not -(2**63) <= value < 2**64 else value


def _linger(milliseconds: int) -> int:
    """How long what ZeroMQ has taken may take to leave; it was counted as sent."""
    return milliseconds if milliseconds < 0 else max(milliseconds, _LINGER_MILLISECONDS)


def _parts(batch: SampleBatch) -> list[SampleBatch]:
    """The batch in pieces that fit in a frame; the ends of jobs come last."""
    if len(batch.samples) <= _SAMPLES_IN_A_FRAME:
        return [batch] if batch.samples or batch.ends else []
    starts = range(0, len(batch.samples), _SAMPLES_IN_A_FRAME)
    parts = [SampleBatch(batch.node, batch.samples[at : at + _SAMPLES_IN_A_FRAME], batch.metrics) for at in starts]
    return [*parts, SampleBatch(batch.node, (), batch.metrics, batch.ends)] if batch.ends else parts


def _key_of(message: bytes) -> tuple[int, int]:
    """The key of a message that comes back from disk; one of Colmet's has none, and needs none but to differ."""
    try:
        head = read_head(message)
    except BadFrame:
        return 0, _number()
    return head.stream, head.sequence


def _number() -> int:
    """A number of 63 bits that nobody else has. The module `secrets` would load a library of 3 MB."""
    return int.from_bytes(os.urandom(8), "little") >> 1
