"""Asks the kernel for taskstats, and hears of tasks that end, through generic netlink.

Facts: the kernel's documents on taskstats and netlink. Questions go in groups in one message; each is answered by one
message, which carries the task's id as its sequence number. Who registers for processors is told the totals of every
task that ends on them.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from jobmeter.contract import SourceAbsent, SourceUnreadable
from jobmeter.observe.tasks.layout import Layout, NotUnderstood, Row, layout

_GENERIC, _CONTROL, _ERROR = 16, 0x10, 2
_GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 3, 1, 2
_GET = 1
_ASK_PID, _ASK_REGISTER = 1, 3
_AGGREGATE_PID, _STATS = 4, 3
_HEAD = struct.Struct("=IHHII")
_TOGETHER = 64
_MESSAGE_BYTES = 1 << 12
_ANSWER_SECONDS = 1.0
_BUFFER_BYTES = 1 << 23
_FORCE_BUFFER = 33
_PROCESSORS_TOGETHER = 32
_FORBIDDEN = "taskstats needs the capability CAP_NET_ADMIN"


class Stats:
    """Where one kind of message has the structure, learned from the first and checked by length ever after."""

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self._length = 0
        self.at = 0

    def found(self, message: bytes) -> Layout | None:
        """The layout, with `at` set; None when the message holds no statistics of one task."""
        if len(message) != self._length or self.layout is None:
            place = _stats_at(message)
            if place is None:
                return None
            self.at, length = place
            try:
                self.layout = layout(struct.unpack_from("=H", message, self.at)[0], length)
            except NotUnderstood as fault:
                raise SourceUnreadable(str(fault)) from None
            self._length = len(message)
        return self.layout


class TaskstatsSocket:
    """A connection to the kernel. Raises SourceAbsent where it has no taskstats, SourceUnreadable without the right."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _GENERIC)
        except OSError as fault:
            raise SourceAbsent(f"no generic netlink: {fault.strerror}") from None
        self._stats = Stats()
        self._is_answering = False
        with ExitStack() as undo:
            undo.callback(self._socket.close)
            self._socket.bind((0, 0))
            self._socket.settimeout(_ANSWER_SECONDS)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _FORCE_BUFFER, _BUFFER_BYTES)
            except OSError:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self.family = self._asked_family()
            undo.pop_all()

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def ask(self, tasks: Sequence[int]) -> Iterator[tuple[int, int, Row]]:
        """Those of the tasks that exist, with their processes (0: not known) and statistics.

        Raises SourceUnreadable when the kernel refuses.
        """
        family = self.family
        for start in range(0, len(tasks), _TOGETHER):
            group = tasks[start : start + _TOGETHER]
            try:
                if self._is_answering:
                    self._drain()
                self._is_answering = True
                self._socket.send(b"".join([_question(family, task) for task in group]))
                for _ in group:
                    answer = self._answer()
                    if answer is not None:
                        yield answer
                self._is_answering = False
            except OSError as fault:
                raise SourceUnreadable(f"the kernel does not answer: {fault.strerror or fault}") from None

    def register(self, processors: str) -> None:
        """Be told of every task that ends on these processors (`0-3,8`). Raises SourceUnreadable."""
        words = processors.encode() + b"\0"
        self._socket.send(_message(self.family, 5, struct.pack("=BBH", _GET, 1, 0) + _attribute(_ASK_REGISTER, words)))
        self._acknowledged()
        self._socket.setblocking(False)

    def row(self, message: bytes) -> Row:
        """The totals in a message that `ended` gave."""
        found = self._stats.found(message)
        assert found is not None  # noqa: S101 - `ended` gives no other message
        return found.read(message, self._stats.at)

    def ended(self) -> Iterator[tuple[int, int, int, bytes] | None]:
        """What came since the last call: ids of task, parent and process, and the message. None: some were lost."""
        stats = self._stats
        while True:
            try:
                message = self._socket.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError as fault:
                if fault.errno != errno.ENOBUFS:
                    raise SourceUnreadable(f"the kernel tells no ends: {fault.strerror}") from None
                yield None
                continue
            found = stats.found(message)
            if found is not None:
                yield (*found.who(message, stats.at), message)

    def _drain(self) -> None:
        """Throw away the answers to questions that were given up: they may be of tasks of another job."""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            self._socket.settimeout(_ANSWER_SECONDS)

    def _answer(self) -> tuple[int, int, Row] | None:
        message = self._socket.recv(_MESSAGE_BYTES)
        _, kind, _, sequence, _ = _HEAD.unpack_from(message)
        if kind == _ERROR:
            code = -struct.unpack_from("=i", message, _HEAD.size)[0]
            if code == errno.EPERM:
                raise SourceUnreadable(_FORBIDDEN)
            return None
        found = self._stats.found(message)
        if found is None:
            return None
        return sequence, found.who(message, self._stats.at)[2], found.read(message, self._stats.at)

    def _acknowledged(self) -> None:
        message = self._socket.recv(_MESSAGE_BYTES)
        code = -struct.unpack_from("=i", message, _HEAD.size)[0] if len(message) >= 20 else 0
        if code == errno.EPERM:
            raise SourceUnreadable(_FORBIDDEN)
        if code:
            raise SourceUnreadable(f"the kernel does not tell ends of tasks: {os.strerror(code)}")

    def _asked_family(self) -> int:
        payload = struct.pack("=BBH", _GET_FAMILY, 1, 0) + _attribute(_FAMILY_NAME, b"TASKSTATS\0")
        self._socket.send(_message(_CONTROL, 1, payload))
        message = self._socket.recv(_MESSAGE_BYTES)
        if _HEAD.unpack_from(message)[1] == _ERROR:
            raise SourceAbsent("this kernel has no taskstats")
        for kind, at, length in _attributes(message, _HEAD.size + 4, len(message)):
            if kind == _FAMILY_ID and length >= 2:
                return int(struct.unpack_from("=H", message, at)[0])
        raise SourceAbsent("this kernel has no taskstats")


def listeners(possible: str) -> list[TaskstatsSocket]:
    """Sockets that hear of all ends on the processors of `possible`, a socket for every 32 of them."""
    numbers = expanded(possible)
    found = []
    with ExitStack() as undo:
        for start in range(0, len(numbers), _PROCESSORS_TOGETHER):
            one = TaskstatsSocket()
            undo.callback(one.close)
            one.register(",".join(map(str, numbers[start : start + _PROCESSORS_TOGETHER])))
            found.append(one)
        undo.pop_all()
    return found


def expanded(ranges: str) -> list[int]:
    """The numbers of `0-3,8`."""
    numbers: list[int] = []
    for word in ranges.strip().split(","):
        first, dash, last = word.partition("-")
        numbers += range(int(first), int(last if dash else first) + 1)
    return numbers


def _question(family: int, task: int) -> bytes:
    return _HEAD.pack(28, family, 1, task, 0) + struct.pack("=BBHHHI", _GET, 1, 0, 8, _ASK_PID, task)


def _message(kind: int, flags: int, payload: bytes) -> bytes:
    return _HEAD.pack(_HEAD.size + len(payload), kind, flags, 1, 0) + payload


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _attributes(message: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Kind, place and length of each attribute's data."""
    while at + 4 <= end:
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4 or at + length > end:
            return
        yield kind & 0x3FFF, at + 4, length - 4
        at += (length + 3) & ~3


def _stats_at(message: bytes) -> tuple[int, int] | None:
    """Place and length of the statistics of one task in a message."""
    for kind, at, length in _attributes(message, _HEAD.size + 4, len(message)):
        if kind == _AGGREGATE_PID:
            for inner, place, size in _attributes(message, at, at + length):
                if inner == _STATS:
                    return place, size
    return None
