"""The append log: what was accepted since the last seal, in frames with checksums.

A log names its series and its lists of involved jobs once and then by number, so that it can be read without any other
file. Form of a frame: length and CRC-32 of what follows (4 bytes each, little end first), then MessagePack.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec
from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Metric
from jobmeter.model.series import Series, Value

MAGIC = b"jobmeter samples log 1\n"
FRAME_BYTES_MAX = 2**28
_HEAD = struct.Struct("<II")

LoggedRow = tuple[int, int, int | None, int, tuple[Value, ...]]
"""Number of the series, time, when its counters began, number of the list of involved jobs, values."""


class Frame(Struct, array_like=True):
    """What one write added: new series, new lists and metrics, in the order of their numbers, and rows."""

    series: list[Series] = []
    involved: list[tuple[JobIdentity, ...]] = []
    metrics: list[Metric] = []
    rows: list[LoggedRow] = []


class LogWriter:
    """Appends frames. A frame is either there whole or cut off again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self.size = 0
        self._encode = msgspec.msgpack.Encoder().encode
        try:
            self._write(MAGIC)
        except OSError:
            os.close(self._file)
            path.unlink()
            raise

    def append(self, frame: Frame) -> None:
        """Hand the frame to the system: it survives the end of this process. Raises OSError, and has added nothing."""
        payload = self._encode(frame)
        self._write(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload)

    def sync(self) -> None:
        """Make what was appended survive the end of the machine. Raises OSError."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)

    def _write(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, data[done:] if done else data)
        except OSError:
            os.ftruncate(self._file, self.size)
            os.lseek(self._file, self.size, os.SEEK_SET)
            raise
        self.size += len(data)


class LogReader:
    """Reads a log from its beginning, and later what was added; while another process appends, seals, removes it.

    `torn` counts the bytes after the last whole frame, at the last reading.
    """

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError when the log was sealed and removed."""
        self.torn = 0
        self._file: BinaryIO = path.open("rb")
        self._offset = 0
        self._decode = msgspec.msgpack.Decoder(Frame).decode

    def frames(self) -> Iterator[Frame]:
        """The frames that are there now and were not yet read. Stops before the first that is not whole."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(self._offset)
        if self._offset == 0:
            self.torn = size
            if self._file.read(len(MAGIC)) != MAGIC:
                return
            self._offset = len(MAGIC)
        while (payload := _payload(self._file.read(_HEAD.size), self._file.read)) is not None:
            try:
                frame = self._decode(payload)
            except (msgspec.DecodeError, UnicodeDecodeError):
                break
            self._offset = self._file.tell()
            yield frame
        self.torn = size - self._offset

    def close(self) -> None:
        """Release the file."""
        self._file.close()


class _Read(Protocol):
    """Reading a file on."""

    def __call__(self, size: int, /) -> bytes: ...


def _payload(head: bytes, read: _Read) -> bytes | None:
    if len(head) < _HEAD.size:
        return None
    size, checksum = _HEAD.unpack(head)
    if not 0 < size <= FRAME_BYTES_MAX:
        return None
    payload = read(size)
    return payload if len(payload) == size and zlib.crc32(payload) == checksum else None
