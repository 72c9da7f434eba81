"""The gatherer's sockets.

A PULL socket takes messages of Colmet's nodes and frames of ours without answers; a ROUTER socket takes frames and
answers each when it is durable. Both are served by one thread, in bursts: take what is there, sync, answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import zmq
import zmq.utils.monitor
from msgspec import Struct

from jobmeter.deliver.complaints import Complaints
from jobmeter.transport.curve import Keys, as_server
from jobmeter.transport.door import doorkeeper
from jobmeter.wire.frame import MESSAGE_MAX_BYTES, Answer, encode_answer

_POLL_MILLISECONDS = 200
_LAST_POLL_MILLISECONDS, _LAST_SECONDS = 50, 5.0
_MESSAGES_FOR_A_PEER = 2
"""A thousand nodes that come back with full spools must fit: what is not taken yet waits at the node."""
_ANSWERS_FOR_A_PEER = 1024
_HANDSHAKE_MILLISECONDS = 10_000
_BACKLOG = 1000
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_WATCHED = _FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED

log = logging.getLogger("jobmeter.transport")


class GateSettings(Struct, frozen=True):
    """Where to listen; None: not that way. With `keys`, the ROUTER socket speaks CURVE with those in `allowed`."""

    plain: str | None = "tcp://127.0.0.1:5556"
    acknowledged: str | None = "tcp://127.0.0.1:5557"
    high_water_mark: int = _MESSAGES_FOR_A_PEER
    linger_milliseconds: int = 0
    burst_messages: int = 500
    keys: Keys | None = None
    allowed: tuple[bytes, ...] = ()


class GateCounts(Struct):
    """Peers that came, went, and could not make themselves understood (a scan, another protocol, a wrong key)."""

    greeted: int = 0
    gone: int = 0
    refused: int = 0


class CannotListen(Exception):  # noqa: N818 - the name says the fact
    """An address is taken or is none; the message says which."""


class Gate:
    """Listens from the moment it is made; `run` serves until the stop. Raises CannotListen."""

    def __init__(
        self, settings: GateSettings, take: Callable[[bytes], Answer | None], sync: Callable[[], None]
    ) -> None:
        self.counts = GateCounts()
        self._settings = settings
        self._take = take
        self._sync = sync
        self._complaints = Complaints(log)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._keeper = None if settings.keys is None else doorkeeper(self._context, list(settings.allowed))
        self._monitors: list[zmq.Socket[bytes]] = []
        try:
            self._plain = self._listening(zmq.PULL, settings.plain)
            self._acknowledged = self._listening(zmq.ROUTER, settings.acknowledged)
        except CannotListen:
            self.close()
            raise

    @property
    def addresses(self) -> list[str]:
        """Where it listens, with the real port where 0 was asked for."""
        sockets = (self._plain, self._acknowledged)
        return [
            "" if socket is None else cast("bytes", socket.last_endpoint).decode().rstrip("\0") for socket in sockets
        ]

    def run(self, stop: threading.Event) -> None:
        """Serve until the stop, and take what has arrived by then."""
        poller = zmq.Poller()
        for socket in (self._plain, self._acknowledged, *self._monitors):
            if socket is not None:
                poller.register(socket, zmq.POLLIN)
        while not stop.is_set():
            if poller.poll(_POLL_MILLISECONDS):
                self.burst()
        # What waits with the kernel comes in while the rest is taken; who goes on sending is not waited for.
        end = time.monotonic() + _LAST_SECONDS
        while poller.poll(_LAST_POLL_MILLISECONDS) and time.monotonic() < end:
            self.burst()

    def burst(self) -> int:
        """Take what is there, up to a bound, and answer. Gives the number of messages."""
        answers: list[tuple[bytes, Answer]] = []
        number = 0
        for _ in range(self._settings.burst_messages):
            took = self._take_plain() + self._take_acknowledged(answers)
            if not took:
                break
            number += took
        self._watch()
        if number and self._synced():
            for peer, answer in answers:
                self._answer(peer, answer)
        return number

    def close(self) -> None:
        """Close all. Called once, after `run`."""
        if self._keeper is not None:
            self._keeper.stop()
        self._context.destroy(linger=self._settings.linger_milliseconds)

    def _listening(self, kind: int, address: str | None) -> zmq.Socket[bytes] | None:
        if address is None:
            return None
        socket = self._context.socket(kind)
        socket.maxmsgsize = MESSAGE_MAX_BYTES
        socket.backlog = _BACKLOG
        socket.handshake_ivl = _HANDSHAKE_MILLISECONDS
        socket.rcvhwm = self._settings.high_water_mark
        if kind == zmq.ROUTER:
            socket.rcvhwm, socket.sndhwm = _MESSAGES_FOR_A_PEER, _ANSWERS_FOR_A_PEER
            socket.heartbeat_ivl, socket.heartbeat_timeout = 5_000, 20_000
            if self._settings.keys is not None:
                as_server(socket, self._settings.keys)
        self._monitors.append(socket.get_monitor_socket(_WATCHED))
        try:
            socket.bind(address)
        except zmq.ZMQError as fault:
            raise CannotListen(f"{address}: {fault.strerror}") from None
        return socket

    def _take_plain(self) -> int:
        if self._plain is None:
            return 0
        try:
            parts = self._plain.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return 0
        for part in parts:
            self._take(part)
        return 1

    def _take_acknowledged(self, answers: list[tuple[bytes, Answer]]) -> int:
        if self._acknowledged is None:
            return 0
        try:
            peer, *parts = self._acknowledged.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return 0
        for part in parts:
            answer = self._take(part)
            if answer is not None:
                answers.append((peer, answer))
        return 1

    def _synced(self) -> bool:
        try:
            self._sync()
        except OSError as fault:
            # Without an answer the nodes send again, and know nothing was lost.
            self._complaints.tell("gate.not_durable", str(fault))
            return False
        return True

    def _answer(self, peer: bytes, answer: Answer) -> None:
        assert self._acknowledged is not None  # noqa: S101 - the question came from there
        # A node that is gone, or reads no answers, asks again when it is back.
        with suppress(zmq.ZMQError):
            self._acknowledged.send_multipart([peer, encode_answer(answer)], zmq.NOBLOCK)

    def _watch(self) -> None:
        for monitor in self._monitors:
            while monitor.poll(0):
                event = zmq.utils.monitor.parse_monitor_message(monitor.recv_multipart())
                if event["event"] & _FAILED:
                    self.counts.refused += 1
                    self._complaints.tell(
                        "gate.refused", f"a peer at {event['endpoint'].decode()} did not speak ZeroMQ"
                    )
                elif event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    self.counts.greeted += 1
                else:
                    self.counts.gone += 1
