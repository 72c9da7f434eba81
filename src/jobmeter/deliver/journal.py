"""A log on disk: segments of messages in a folder, appended to, read at several places, and dropped as a whole.

A segment is named after the number of its first entry. An entry is its length, its CRC-32, its weight (32 bits each,
little-endian) and its body. What a crash or a full disk left half-written at the end is cut off when it is opened.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from jobmeter.deliver.fault import SpoolTooNew, SpoolUnavailable
from jobmeter.deliver.log import Logged, Taken

MAGIC = b"JMLOG 1\n"
_HEAD = struct.Struct("<III")
_SEGMENT_MAX_BYTES = 16 * 2**20
_SEGMENT_MIN_BYTES = 64 * 2**10
_ENTRY_MAX_BYTES = 64 * 2**20
_PIECE_BYTES = 256 * 2**10

log = logging.getLogger("jobmeter.deliver")


class _Segment(Struct):
    path: Path
    first: int
    entries: int = 0
    weight: int = 0
    size: int = len(MAGIC)


class Journal:
    """See `jobmeter.deliver.log.Log`. Beyond `max_bytes` the oldest segment goes. One process uses the folder.

    Raises SpoolUnavailable when the folder cannot be used, SpoolTooNew when it is of a newer release.
    """

    durable = True

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = max(_SEGMENT_MIN_BYTES, min(_SEGMENT_MAX_BYTES, max_bytes // 8))
        self._changed = threading.Condition(threading.RLock())
        self._unsynced = False
        self._gone: deque[_Segment] = deque(maxlen=10_000)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._segments = [_scanned(path) for path in sorted(folder.glob("*.log"))]
            self._join()
            self._descriptor = self._begun() if not self._segments else self._opened(self._segments[-1])
        except OSError as fault:
            raise SpoolUnavailable(folder, fault.strerror or str(fault)) from fault

    @property
    def next_number(self) -> int:
        """The number that the next entry will get."""
        last = self._segments[-1]
        return last.first + last.entries

    @property
    def size_bytes(self) -> int:
        """How many bytes are held."""
        return sum(segment.size for segment in self._segments)

    def append(self, body: bytes, weight: int) -> int:
        """Add an entry and give its number. Raises OSError when there is no room."""
        entry = _HEAD.pack(len(body), zlib.crc32(body), weight) + body
        with self._changed:
            if self._segments[-1].size + len(entry) > self._segment_bytes and self._segments[-1].entries:
                self._roll()
            segment = self._segments[-1]
            self._write(segment, entry)
            segment.size += len(entry)
            segment.entries += 1
            segment.weight += weight
            self._unsynced = True
            self._make_room()
            self._changed.notify_all()
            return segment.first + segment.entries - 1

    def sync(self) -> None:
        """Make what was appended durable. Raises OSError."""
        with self._changed:
            if self._unsynced:
                os.fdatasync(self._descriptor)
                self._unsynced = False

    def reader(self, number: int) -> _Reader:
        """A place before the entry of that number."""
        return _Reader(self, number)

    def forget(self, before: int) -> None:
        """Drop what is below that number, as far as whole segments go."""
        with self._changed:
            while len(self._segments) > 1 and self._segments[1].first <= before:
                self._drop()
            last = self._segments[-1]
            if last.entries and last.first + last.entries <= before and last.size > self._segment_bytes // 2:
                with suppress(OSError):
                    self._roll()
                    self._drop()

    def wait(self, number: int, seconds: float) -> bool:
        """Whether there is an entry of that number, after at most so long."""
        with self._changed:
            if self.next_number <= number:
                self._changed.wait(seconds)
            return self.next_number > number

    def wake(self) -> None:
        """Let everybody who waits look again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Sync and release."""
        with self._changed:
            try:
                self.sync()
            finally:
                os.close(self._descriptor)

    def _join(self) -> None:
        """Numbers only grow from segment to segment; what contradicts that is left out."""
        for place in range(len(self._segments) - 1, 0, -1):
            before, after = self._segments[place - 1], self._segments[place]
            if before.first + before.entries > after.first:
                log.warning("journal.overlap folder=%s before=%d", self._folder, after.first)
                for segment in self._segments[:place]:
                    segment.path.unlink(missing_ok=True)
                self._segments = self._segments[place:]
                return

    def _begun(self, first: int = 1) -> int:
        path = self._folder / f"{first:020}.log"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, len(MAGIC))
            os.pwrite(descriptor, MAGIC, 0)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        self._segments.append(_Segment(path, first))
        return descriptor

    def _opened(self, segment: _Segment) -> int:
        descriptor = os.open(segment.path, os.O_RDWR | os.O_CLOEXEC)
        os.ftruncate(descriptor, segment.size)
        return descriptor

    def _roll(self) -> None:
        self.sync()
        fresh = self._begun(self.next_number)
        os.close(self._descriptor)
        self._descriptor = fresh

    def _write(self, segment: _Segment, entry: bytes) -> None:
        written = 0
        try:
            while written < len(entry):
                written += os.pwrite(self._descriptor, entry[written:], segment.size + written)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, segment.size)
            raise

    def _make_room(self) -> None:
        while len(self._segments) > 1 and self.size_bytes > self._max_bytes:
            gone = self._segments[0]
            self._gone.append(gone)
            log.warning("journal.dropped folder=%s entries=%d samples=%d", self._folder, gone.entries, gone.weight)
            self._drop()

    def _drop(self) -> None:
        gone = self._segments.pop(0)
        with suppress(OSError):
            gone.path.unlink(missing_ok=True)

    def _missed_weight(self, above: int) -> int:
        """The weight of the segments that were dropped for room and begin above that number."""
        with self._changed:
            return sum(segment.weight for segment in self._gone if segment.first > above)

    def _place(self, number: int) -> tuple[Path, int, int, int, int]:
        """Where an entry is to be looked for: file, its first number, how far it is written, entries, weight."""
        with self._changed:
            for segment in self._segments:
                if number < segment.first + segment.entries or segment is self._segments[-1]:
                    return segment.path, segment.first, segment.size, segment.entries, segment.weight
        raise AssertionError("there is always a last segment")


class _Reader:
    """Reads one segment after the other. What was dropped or cannot be read is counted and passed over."""

    def __init__(self, journal: Journal, number: int) -> None:
        self._journal = journal
        self.number = max(number, 1)
        self._descriptor = -1
        self._path: Path | None = None
        self._first = 0
        self._entries = 0
        self._weight = 0
        self._weight_read = 0
        self._offset = 0
        self._size = 0
        self._is_damaged = False

    def take(self, most_weight: int) -> Taken:
        skipped_entries, skipped_weight = self._at_segment()
        found: list[Logged] = []
        weight = 0
        self._is_damaged = False
        for entry in self._following():
            weight += entry.weight
            if found and weight > most_weight:
                break
            found.append(entry)
            self._offset += _HEAD.size + len(entry.body)
            self._weight_read += entry.weight
            self.number += 1
        if self._is_damaged and not found:
            skipped_entries += self._first + self._entries - self.number
            skipped_weight += self._weight - self._weight_read
            self.number, self._offset = self._first + self._entries, self._size
            self._weight_read = self._weight
        return Taken(tuple(found), skipped_entries, skipped_weight)

    def close(self) -> None:
        """Sync and release."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self._path = None

    def _at_segment(self) -> tuple[int, int]:
        """Go to the segment that holds the next entry. Gives how many entries, of what weight, were missed thereby."""
        path, first, size, entries, weight = self._journal._place(self.number)
        missed, missed_weight = 0, 0
        if path != self._path:
            missed = max(0, first - self.number)
            if missed:
                missed_weight = self._weight - self._weight_read + self._journal._missed_weight(self._first)
            self.close()
            self._open(path, first)
        self._entries, self._weight, self._size = entries, weight, size
        return missed, missed_weight

    def _open(self, path: Path, first: int) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # dropped just now; the next look finds another
            return
        self._path, self._first, self._offset, self._weight_read = path, first, len(MAGIC), 0
        wanted = max(self.number, first)
        self.number = first
        while self.number < wanted:
            head = os.pread(self._descriptor, _HEAD.size, self._offset)
            if len(head) < _HEAD.size:
                break
            length, _, weight = _HEAD.unpack(head)
            self._offset += _HEAD.size + length
            self._weight_read += weight
            self.number += 1

    def _following(self) -> Iterator[Logged]:
        if self._descriptor < 0:
            return
        offset, number, piece, start = self._offset, self.number, b"", self._offset
        while offset + _HEAD.size <= self._size:
            if offset + _HEAD.size > start + len(piece):
                piece, start = os.pread(self._descriptor, _PIECE_BYTES, offset), offset
            length, crc, weight = _HEAD.unpack_from(piece, offset - start)
            end = offset + _HEAD.size + length
            if end > start + len(piece):
                piece, start = os.pread(self._descriptor, max(_PIECE_BYTES, _HEAD.size + length), offset), offset
            body = piece[offset - start + _HEAD.size : end - start]
            if len(body) < length or zlib.crc32(body) != crc:
                log.error("journal.damaged file=%s offset=%d", self._path, offset)
                self._is_damaged = True
                return
            yield Logged(number, weight, body)
            offset, number = end, number + 1


def _scanned(path: Path) -> _Segment:
    """A segment that is there: how many whole entries it has, and where they end. Raises SpoolTooNew and OSError."""
    segment = _Segment(path, int(path.stem) if path.stem.isdigit() else 0)
    with path.open("rb") as stream:
        begun = stream.read(len(MAGIC))
        if begun != MAGIC and begun.startswith(MAGIC[:6]) and len(begun) == len(MAGIC):
            raise SpoolTooNew(path, "is a journal of another release")
        if begun != MAGIC:
            return _fresh(segment)
        while len(head := stream.read(_HEAD.size)) == _HEAD.size:
            length, crc, weight = _HEAD.unpack(head)
            if length > _ENTRY_MAX_BYTES or zlib.crc32(body := stream.read(length)) != crc or len(body) < length:
                log.warning("journal.cut file=%s offset=%d", path, segment.size)
                break
            segment.size += _HEAD.size + length
            segment.entries += 1
            segment.weight += weight
    return segment


def _fresh(segment: _Segment) -> _Segment:
    """A segment whose beginning was never written: nothing was in it."""
    segment.path.write_bytes(MAGIC)
    return segment
