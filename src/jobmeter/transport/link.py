"""The two kinds of links from a node to gatherers: one that is answered, and one that is not."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import cast

import zmq
from msgspec import Struct

from jobmeter.deliver.complaints import Complaints
from jobmeter.transport.curve import Keys, as_client
from jobmeter.wire.frame import BadFrame, Verdict, decode_answer

_WINDOW = 64
_RECONNECT_MILLISECONDS, _RECONNECT_MAX_MILLISECONDS = 200, 10_000

log = logging.getLogger("jobmeter.transport")


class Far(Struct, frozen=True):
    """The gatherers, how long one may take to answer, and the keys when the way is encrypted."""

    addresses: tuple[str, ...]
    high_water_mark: int = 1000
    answer_seconds: float = 10.0
    keys: Keys | None = None
    gatherer_key: Keys | None = None


class AcknowledgedLink:
    """A DEALER to one gatherer at a time, the first of the list at first."""

    is_answered = True
    window = _WINDOW
    """How many frames may be unanswered."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], far: Far, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._context = context
        self._far = far
        self._addresses = far.addresses
        self._answer_seconds = far.answer_seconds
        self._monotonic = monotonic
        self._complaints = Complaints(log)
        self._turn = 0
        self._heard = monotonic()
        self._idle = True
        self._socket = self._connected()

    def wait(self, bell: int, seconds: float, *, is_wanted: bool) -> None:
        """Wait for an answer, for the bell, or where sending `is_wanted` until that is possible."""
        _wait(self._socket, bell, seconds, zmq.POLLIN | (zmq.POLLOUT if is_wanted else 0))

    def is_ready(self) -> bool:
        """Whether a message would be taken now: there is a connection, and room."""
        return _is_writable(self._socket)

    def send(self, message: bytes) -> bool:
        """Hand a message to ZeroMQ, or False."""
        if self._idle:
            self._idle = False
            self._heard = self._monotonic()
        return _sent(self._socket, message)

    def answers(self) -> Iterator[tuple[tuple[int, int], bool]]:
        """What was answered: the key of a frame, and whether it was taken (False: it never will be)."""
        while True:
            try:
                raw = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._heard = self._monotonic()
            try:
                answer = decode_answer(raw)
            except BadFrame as fault:
                self._complaints.tell("node.answer_unreadable", str(fault))
                continue
            if answer.verdict is Verdict.VERSION:
                self._complaints.tell("node.version_unknown", "the gatherer does not know our frames: update it")
                self._heard = float("-inf")
                return
            yield (answer.stream, answer.sequence), answer.verdict is Verdict.STORED

    def is_overdue(self, out: int) -> bool:
        """Whether the gatherer has not answered for too long, or cannot be reached and there are others."""
        now = self._monotonic()
        if not out:
            self._idle = True
            if len(self._addresses) == 1 or self.is_ready():
                self._heard = now
        return now - self._heard > self._answer_seconds

    def switch(self) -> None:
        """Turn to the next gatherer of the list, which may be the same one again."""
        before = self._addresses[self._turn]
        self._turn = (self._turn + 1) % len(self._addresses)
        self._complaints.tell("node.gatherer_silent", f"{before} does not answer; now {self._addresses[self._turn]}")
        self._socket.close(0)
        self._socket = self._connected()
        self._heard = self._monotonic()
        self._idle = True

    def close(self) -> None:
        """Close the socket; what was not answered is kept elsewhere."""
        self._socket.close(0)

    def _connected(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.sndhwm = socket.rcvhwm = _WINDOW * 2
        _prepare(socket, self._far)
        socket.connect(self._addresses[self._turn])
        return socket


class PushLink:
    """A PUSH to all gatherers of the list: each message goes to one of those that are there."""

    is_answered = False
    window = 1

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        far: Far,
        monotonic: Callable[[], float] = time.monotonic,  # noqa: ARG002 - the other link's
    ) -> None:
        self._socket = context.socket(zmq.PUSH)
        self._socket.sndhwm = far.high_water_mark
        _prepare(self._socket, far)
        for address in far.addresses:
            self._socket.connect(address)

    def wait(self, bell: int, seconds: float, *, is_wanted: bool) -> None:
        """Wait for the bell, or where sending `is_wanted` until that is possible."""
        _wait(self._socket, bell, seconds, zmq.POLLOUT if is_wanted else 0)

    def is_ready(self) -> bool:
        """Whether a message would be taken now."""
        return _is_writable(self._socket)

    def send(self, message: bytes) -> bool:
        """Hand a message to ZeroMQ, or False."""
        return _sent(self._socket, message)

    def answers(self) -> Iterator[tuple[tuple[int, int], bool]]:
        """Nothing."""
        return iter(())

    def is_overdue(self, out: int) -> bool:  # noqa: ARG002 - the other link asks for it
        """Never: nobody answers."""
        return False

    def switch(self) -> None:
        """Nothing: all gatherers are connected to."""

    def close(self) -> None:
        """Nothing now: the context gives it its time to linger."""


def _prepare(socket: zmq.Socket[bytes], far: Far) -> None:
    # Only to who is there: what ZeroMQ would queue for an absent peer is safer, and counted, in the backlog.
    socket.immediate = True
    socket.reconnect_ivl, socket.reconnect_ivl_max = _RECONNECT_MILLISECONDS, _RECONNECT_MAX_MILLISECONDS
    socket.heartbeat_ivl, socket.heartbeat_timeout = 5_000, 20_000
    if far.keys is not None and far.gatherer_key is not None:
        as_client(socket, far.keys, far.gatherer_key)


def _wait(socket: zmq.Socket[bytes], bell: int, seconds: float, events: int) -> None:
    poller = zmq.Poller()
    poller.register(bell, zmq.POLLIN)
    if events:
        poller.register(socket, events)
    if dict(poller.poll(int(seconds * 1000))).get(bell):
        os.eventfd_read(bell)


def _is_writable(socket: zmq.Socket[bytes]) -> bool:
    return bool(cast("int", socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT)


def _sent(socket: zmq.Socket[bytes], message: bytes) -> bool:
    try:
        socket.send(message, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True
