"""What a gatherer does with a message of a node, of ours or of Colmet's: check it, know it again, put it in the log.

A message is hostile until it has been read. What cannot be read is counted by its kind; nothing else is lost for it.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict

from msgspec import Struct

from jobmeter.deliver.complaints import Complaints
from jobmeter.deliver.log import Log, Logged
from jobmeter.deliver.streams import Streams
from jobmeter.model.sample import SampleBatch
from jobmeter.wire.colmet import decode as decode_colmet
from jobmeter.wire.colmet import is_colmet
from jobmeter.wire.colmet_samples import samples_of
from jobmeter.wire.frame import (
    Answer,
    BadFrame,
    Head,
    UnknownVersion,
    Verdict,
    decode_frame,
    encode_frame,
    is_frame,
    read_head,
)

_RECENT_SAMPLES_MAX = 8_000


class IntakeCounts(Struct):
    """What came in since the start."""

    frames: int = 0
    colmet_messages: int = 0
    samples: int = 0
    repeated: int = 0
    unreadable: int = 0
    cut: int = 0
    unknown_version: int = 0
    refused_no_room: int = 0
    lost_no_room_samples: int = 0


class Origin(Struct, frozen=True):
    """Whose jobs those of Colmet's nodes are: its records tell a number only."""

    manager: str = "oar"
    cluster: str = ""


class Recent:
    """The batches that came last, as values, for readers of the log that keep up. Safe for several threads."""

    def __init__(self) -> None:
        self._batches: OrderedDict[int, SampleBatch] = OrderedDict()
        self._samples = 0
        self._lock = threading.Lock()

    def put(self, number: int, batch: SampleBatch) -> None:
        """Remember the batch of that entry, and forget the oldest when there are many."""
        with self._lock:
            self._batches[number] = batch
            self._samples += len(batch.samples)
            while self._samples > _RECENT_SAMPLES_MAX:
                self._samples -= len(self._batches.popitem(last=False)[1].samples)

    def batch(self, entry: Logged) -> SampleBatch:
        """The batch of an entry. Raises BadFrame."""
        with self._lock:
            found = self._batches.get(entry.number)
        return decode_frame(entry.body)[1] if found is None else found


class Intake:
    """Takes messages into `log`. One thread calls it."""

    def __init__(self, log: Log, streams: Streams, origin: Origin, complaints: Complaints | None = None) -> None:
        self.counts = IntakeCounts()
        self.recent = Recent()
        self.streams = streams
        self._log = log
        self._origin = origin
        self._complaints = complaints or Complaints(logging.getLogger("jobmeter.deliver"))
        self._remember()

    def take(self, message: bytes) -> Answer | None:
        """Take a message. An answer is to be given after the next `Log.sync`; None: there is none to give now."""
        try:
            return self._taken(message)
        except Exception as fault:  # noqa: BLE001 - whoever reaches the port must not be able to end the gatherer
            self.counts.unreadable += 1
            self._complaints.tell("gather.unreadable", f"{len(message)} bytes: {fault!r}")
            return self._unreadable(message)

    def _taken(self, message: bytes) -> Answer | None:
        if is_frame(message):
            return self._frame(message)
        if is_colmet(message):
            self._colmet(message)
        elif message:
            self.counts.unreadable += 1
            self._complaints.tell("gather.unreadable", f"{len(message)} bytes that begin with {message[:16]!r}")
        return None

    def _frame(self, message: bytes) -> Answer | None:
        try:
            head, batch = decode_frame(message)
        except UnknownVersion as fault:
            self.counts.unknown_version += 1
            self._complaints.tell("gather.unknown_version", str(fault))
            return Answer(Verdict.VERSION, 0, 0)
        except BadFrame as fault:
            self.counts.unreadable += 1
            self._complaints.tell("gather.unreadable", f"a frame that {fault}")
            return self._unreadable(message)
        answer = Answer(Verdict.STORED, head.stream, head.sequence)
        if self.streams.is_known(head.node, head.stream, head.sequence):
            self.counts.repeated += 1
            return answer
        if not self._append(message, batch):
            return None
        self.counts.frames += 1
        self.streams.note(head.node, head.stream, head.sequence, head.dropped)
        return answer

    def _unreadable(self, message: bytes) -> Answer | None:
        try:
            head = read_head(message)
        except BadFrame:
            return None
        return Answer(Verdict.UNREADABLE, head.stream, head.sequence)

    def _colmet(self, message: bytes) -> None:
        decoded = decode_colmet(message)
        if decoded.fault is not None:
            self.counts.cut += 1
            self._complaints.tell("gather.cut", decoded.fault)
        if not decoded.records:
            return
        batch = samples_of(decoded.records, self._origin.manager, self._origin.cluster)
        self.counts.colmet_messages += 1
        if not self._append(encode_frame(Head(batch.node, 0, 0), batch), batch):
            self.counts.lost_no_room_samples += len(batch.samples)

    def _append(self, frame: bytes, batch: SampleBatch) -> bool:
        try:
            number = self._log.append(frame, len(batch.samples))
        except OSError as fault:
            self.counts.refused_no_room += 1
            self._complaints.tell("gather.no_room", str(fault))
            return False
        self.counts.samples += len(batch.samples)
        self.recent.put(number, batch)
        return True

    def _remember(self) -> None:
        """Learn from the log what came after the streams were last written down."""
        reader = self._log.reader(1)
        while (taken := reader.take(10_000)).entries or taken.skipped_entries:
            for entry in taken.entries:
                try:
                    head = read_head(entry.body)
                except BadFrame:
                    continue
                if head.stream:
                    self.streams.note(head.node, head.stream, head.sequence, head.dropped)
        reader.close()
