"""The user accounting files utmp and wtmp: records of 384 bytes, as glibc's utmp.h has them on 64-bit Linux."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.host import Host

UTMP = (Path("/run/utmp"), Path("/var/run/utmp"))
WTMP = Path("/var/log/wtmp")

_RECORD = struct.Struct("<h2xi32s4s32s256shhiii16x20x")
_BOOT, _LOGIN, _LOGOUT = 2, 7, 8
_TAIL_RECORDS = 20_000
"""How far back a wtmp is read, which grows without end: 8 MB."""


class Entry(Struct, frozen=True):
    """One record. `user` is empty in the record of a logout."""

    type: int
    pid: int
    line: str
    user: str
    seconds: int


def utmp_file(host: Host) -> Path | None:
    """Where the host keeps who is logged in, or None: systems without utmp have no such file."""
    return next((path for path in map(host.path, UTMP) if path.exists()), None)


def parse(content: bytes) -> Iterator[Entry]:
    """The records of a file. Raises ValueError when it is not made of whole records."""
    if len(content) % _RECORD.size:
        raise ValueError(f"its size is no multiple of {_RECORD.size} bytes")
    for type_, pid, line, _, user, _, _, _, _, seconds, _ in _RECORD.iter_unpack(content):
        yield Entry(type_, pid, _text(line), _text(user), seconds)


def logged_in(host: Host, file: Path) -> list[str]:
    """Users with a session in utmp whose process is alive, in the order of the file."""
    return _distinct(
        entry.user
        for entry in _read(file)
        if entry.type == _LOGIN and entry.user and host.path(f"/proc/{entry.pid}").exists()
    )


def active_since(host: Host, since: datetime) -> list[str] | None:
    """Users whose session began or ended after `since` by wtmp, or None where there is no such file."""
    file = host.path(WTMP)
    if not file.exists():
        return None
    return _distinct(_active(_read(file), int(since.timestamp())))


def _active(entries: Iterator[Entry], since: int) -> Iterator[str]:
    on_line: dict[str, str] = {}
    for entry in entries:
        if entry.type == _BOOT:
            on_line.clear()
        elif entry.type == _LOGIN and entry.user:
            on_line[entry.line] = entry.user
            if entry.seconds >= since:
                yield entry.user
        elif entry.type == _LOGOUT:
            user = on_line.pop(entry.line, None)
            if user is not None and entry.seconds >= since:
                yield user


def window_start(host: Host, seconds: float) -> datetime:
    """The moment so long ago."""
    return host.clock.now() - timedelta(seconds=seconds)


def _read(file: Path) -> Iterator[Entry]:
    try:
        with file.open("rb") as stream:
            size = file.stat().st_size
            stream.seek(max(0, size - size % _RECORD.size - _TAIL_RECORDS * _RECORD.size))
            yield from parse(stream.read(_TAIL_RECORDS * _RECORD.size + size % _RECORD.size))
    except OSError as fault:
        raise SourceUnreadable(f"{file} cannot be read: {fault.strerror}") from None
    except ValueError as fault:
        raise SourceUnreadable(f"{file} is no accounting file: {fault}") from None


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _distinct(users: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(users))
