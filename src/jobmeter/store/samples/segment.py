"""Segments: files that never change, with packed blocks of rows and a footer that says where what lies.

Form: a line of magic; frames, each a zlib stream of many blocks; the footer, a zlib stream of MessagePack; a trailer
with the footer's place and checksum. Every frame has its checksum in the footer. A segment appears under its name only
when all of it is on disk.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Metric
from jobmeter.model.series import SampleQuestion, Series
from jobmeter.store.samples.codec import Cells, decode, encode
from jobmeter.store.samples.fault import Damaged
from jobmeter.store.samples.rows import INVOLVED, between, joined, times_of

MAGIC = b"jobmeter samples seg 1\n"
BLOCK_ROWS = 1024
FRAME_BYTES = 2**17
"""Blocks are packed together up to about this many bytes before zlib."""
LEVEL = 6
_TRAILER = struct.Struct("<QII4s")
_END = b"jmse"


class PackedSeries(Struct, array_like=True, frozen=True):
    """A series in a footer; the metrics by the number of their set."""

    node: str
    source: str
    job: JobIdentity | None
    instance: str
    metrics: int


class BlockPlace(Struct, array_like=True, frozen=True):
    """Rows of one series: in which frame, where in it, and which period they are of."""

    series: int
    frame: int
    offset: int
    size: int
    rows: int
    first_ns: int
    last_ns: int


class FramePlace(Struct, array_like=True, frozen=True):
    """Where a frame lies in the file, and its checksum."""

    offset: int
    size: int
    checksum: int


class Footer(Struct, array_like=True):
    """Everything about a segment but its values."""

    step_ns: int = 0
    values: int = 0
    metrics: list[Metric] = []
    sets: list[tuple[str, ...]] = []
    series: list[PackedSeries] = []
    involved: list[tuple[JobIdentity, ...]] = []
    frames: list[FramePlace] = []
    blocks: list[BlockPlace] = []

    @property
    def first_ns(self) -> int | None:
        """The oldest time, None in an empty segment."""
        return min((block.first_ns for block in self.blocks), default=None)

    @property
    def last_ns(self) -> int | None:
        """The newest time."""
        return max((block.last_ns for block in self.blocks), default=None)


class SegmentWriter:
    """Writes one segment. Series come in the order of `head.sort_key`, each once, their rows in order of time."""

    def __init__(self, path: Path, step_ns: int = 0) -> None:
        self._path = path
        self._temporary = path.with_suffix(".new")
        self._file: BinaryIO = self._temporary.open("wb")
        self._footer = Footer(step_ns=step_ns)
        self._sets: dict[tuple[str, ...], int] = {}
        self._lists: dict[tuple[JobIdentity, ...], int] = {}
        self._names: set[str] = set()
        self._frame: list[bytes] = []
        self._frame_size = 0
        self._file.write(MAGIC)

    def add(self, series: Series, cells: Cells, lists: Sequence[tuple[JobIdentity, ...]]) -> None:
        """Rows of one series, at least one. `lists` is what the numbers in the column of involved jobs stand for."""
        footer = self._footer
        chosen = self._sets.setdefault(series.metrics, len(self._sets))
        number = len(footer.series)
        footer.series.append(PackedSeries(series.node, series.source, series.job, series.instance, chosen))
        self._names.update(series.metrics)
        self._renumber(cells, lists)
        times = times_of(cells)
        footer.values += len(times) * len(series.metrics)
        for start in range(0, len(times), BLOCK_ROWS):
            part = Cells(cells.bits[start : start + BLOCK_ROWS], cells.kinds[start : start + BLOCK_ROWS])
            block = encode(part)
            own = times[start : start + BLOCK_ROWS]
            place = (number, len(footer.frames), self._frame_size, len(block), len(own), int(own[0]), int(own[-1]))
            footer.blocks.append(BlockPlace(*place))
            self._frame.append(block)
            self._frame_size += len(block)
            if self._frame_size >= FRAME_BYTES:
                self._write_frame()

    def finish(self, metrics: Mapping[str, Metric]) -> None:
        """Write the footer and let the segment appear. Raises OSError; nothing has appeared then."""
        self._write_frame()
        footer = self._footer
        footer.sets = list(self._sets)
        footer.involved = list(self._lists)
        footer.metrics = [metrics[name] for name in sorted(self._names) if name in metrics]
        packed = zlib.compress(msgspec.msgpack.encode(footer), LEVEL)
        trailer = _TRAILER.pack(self._file.tell(), len(packed), zlib.crc32(packed), _END)
        self._file.write(packed + trailer)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.rename(self._path)
        sync_folder(self._path.parent)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _renumber(self, cells: Cells, lists: Sequence[tuple[JobIdentity, ...]]) -> None:
        column = cells.bits[:, INVOLVED]
        used = np.unique(column)
        own = {int(old): self._lists.setdefault(lists[int(old)], len(self._lists)) for old in used}
        if any(old != new for old, new in own.items()):
            order = np.searchsorted(used, column)
            cells.bits[:, INVOLVED] = np.array([own[int(old)] for old in used], np.uint64)[order]

    def _write_frame(self) -> None:
        if not self._frame:
            return
        packed = zlib.compress(b"".join(self._frame), LEVEL)
        self._footer.frames.append(FramePlace(self._file.tell(), len(packed), zlib.crc32(packed)))
        self._file.write(packed)
        self._frame = []
        self._frame_size = 0


def sync_folder(folder: Path) -> None:
    """Make new and removed names in a folder durable."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class Segment:
    """The footer of a segment, ready for questions."""

    def __init__(self, path: Path) -> None:
        """Raises Damaged, and FileNotFoundError when it was merged or removed in between."""
        self.path = path
        with path.open("rb") as file:
            self.size = file.seek(0, os.SEEK_END)
            self.footer = _footer(file, self.size, path)
        self._blocks: dict[int, list[BlockPlace]] = {}
        self._by_job: dict[JobIdentity | None, list[int]] = {}
        for number, series in enumerate(self.footer.series):
            self._by_job.setdefault(series.job, []).append(number)
        for block in self.footer.blocks:
            self._blocks.setdefault(block.series, []).append(block)
        self.first_ns = self.footer.first_ns
        self.last_ns = self.footer.last_ns
        self.metrics = {metric.name: metric for metric in self.footer.metrics}

    def series(self, number: int) -> Series:
        """A series by its number in this segment."""
        packed = self.footer.series[number]
        return Series(packed.node, packed.source, packed.job, packed.instance, self.footer.sets[packed.metrics])

    def chosen(self, question: SampleQuestion) -> Iterator[int]:
        """The numbers of the series that a question may concern."""
        if not _overlaps(question, self.first_ns, self.last_ns):
            return
        for job, numbers in self._by_job.items():
            if job is None:
                wanted = question.node_only or not question.names_a_job or question.involving
            else:
                wanted = not question.node_only and question.is_about(job)
            if wanted:
                yield from (number for number in numbers if self._is_wanted(self.footer.series[number], question))

    def _is_wanted(self, series: PackedSeries, question: SampleQuestion) -> bool:
        return (
            (question.node is None or question.node == series.node)
            and (question.source is None or question.source == series.source)
            and (not question.metrics or not set(question.metrics).isdisjoint(self.footer.sets[series.metrics]))
        )

    def blocks(self, number: int) -> list[BlockPlace]:
        """Where the rows of a series lie."""
        return self._blocks.get(number, [])


def _overlaps(question: SampleQuestion, first_ns: int | None, last_ns: int | None) -> bool:
    if first_ns is None or last_ns is None:
        return False
    return (question.to_ns is None or first_ns < question.to_ns) and (
        question.from_ns is None or last_ns >= question.from_ns
    )


class OpenSegment:
    """A segment whose values are being read. It may be removed meanwhile: the open file stays."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self._file: BinaryIO = segment.path.open("rb")
        self._frame = -1
        self._blocks = b""

    def cells(self, number: int, from_ns: int | None = None, to_ns: int | None = None) -> Cells | None:
        """The rows of a series in a period, in order; None when there are none. Raises Damaged."""
        parts = [
            self._block(block)
            for block in self.segment.blocks(number)
            if (to_ns is None or block.first_ns < to_ns) and (from_ns is None or block.last_ns >= from_ns)
        ]
        if not parts:
            return None
        return between(joined(parts), from_ns, to_ns)

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _block(self, place: BlockPlace) -> Cells:
        if place.frame != self._frame:
            frame = self.segment.footer.frames[place.frame]
            self._file.seek(frame.offset)
            packed = self._file.read(frame.size)
            if len(packed) != frame.size or zlib.crc32(packed) != frame.checksum:
                path = self.segment.path
                raise Damaged(f"{path.name}: the checksum at byte {frame.offset} is wrong", path)
            self._blocks = zlib.decompress(packed)
            self._frame = place.frame
        return decode(self._blocks[place.offset : place.offset + place.size])


def _footer(file: BinaryIO, size: int, path: Path) -> Footer:
    if size < len(MAGIC) + _TRAILER.size:
        raise Damaged(f"{path.name}: too short for a segment")
    file.seek(0)
    magic = file.read(len(MAGIC))
    file.seek(size - _TRAILER.size)
    offset, length, checksum, end = _TRAILER.unpack(file.read(_TRAILER.size))
    if magic != MAGIC or end != _END or offset + length + _TRAILER.size != size:
        raise Damaged(f"{path.name}: no segment of this version")
    file.seek(offset)
    packed = file.read(length)
    if zlib.crc32(packed) != checksum:
        raise Damaged(f"{path.name}: the checksum of its footer is wrong")
    try:
        return msgspec.msgpack.decode(zlib.decompress(packed), type=Footer)
    except (zlib.error, msgspec.DecodeError) as fault:
        raise Damaged(f"{path.name}: its footer has a wrong form: {fault}") from None
