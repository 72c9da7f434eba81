"""A loopback server that answers each request with the next step of a script, byte for byte."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Step:
    """What to do with one request: send `sent`, piece by piece with `pause_seconds` between bytes, then maybe close."""

    sent: bytes = b""
    close: bool = False
    pause_seconds: float = 0.0
    reads_body: bool = True


def answer(status: int, body: bytes = b"", *headers: str) -> Step:
    head = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}", *headers]
    return Step("\r\n".join(head).encode() + b"\r\n\r\n" + body)


@dataclass
class ScriptedServer:
    """`script` is a list of steps, or a function from a request to its step; closes when the steps are used up."""

    script: list[Step] | Callable[[Request], Step]
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> ScriptedServer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for held in [self._listener, *self._open]:
            with suppress(OSError):
                socket.socket.shutdown(held, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for held in [self._listener, *self._open]:
            held.close()

    @property
    def address(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    def drop_connections(self) -> None:
        """Close what is open, as a server does with connections that were idle for long."""
        for held in self._open:
            with suppress(OSError):
                socket.socket.shutdown(held, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self._open.append(connection)
            stream = connection.makefile("rb")
            while self._answer_one(connection, stream):
                pass
            connection.shutdown(socket.SHUT_RDWR)
        except (OSError, ValueError):
            pass
        finally:
            connection.close()

    def _answer_one(self, connection: socket.socket, stream: BinaryIO) -> bool:
        line = stream.readline().decode()
        if not line:
            return False
        method, path, _ = line.split()
        headers: dict[str, str] = {}
        while header := stream.readline().decode().strip():
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        step = self.script.pop(0) if isinstance(self.script, list) and self.script else None
        length = int(headers.get("content-length", "0"))
        body = stream.read(length) if step is None or step.reads_body else b""
        request = Request(method, path, headers, body)
        self.requests.append(request)
        if not isinstance(self.script, list):
            step = self.script(request)
        if step is None:
            return False
        if step.pause_seconds:
            for byte in step.sent:
                connection.sendall(bytes([byte]))
                time.sleep(step.pause_seconds)
        else:
            connection.sendall(step.sent)
        return not step.close
