"""An API server that follows a script: pods and events are put in by the test, faults are arranged beforehand."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Pod = dict[str, Any]


class ApiServer(ThreadingHTTPServer):
    """Lists and watches of pods, with versions, pages and bookmarks. All that varies is a public attribute."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tls = tls
        self.changed = threading.Condition()
        self.pods: dict[tuple[str, str], Pod] = {}
        self.events: list[tuple[int, str, str, Pod]] = []
        self.version = 100
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.oldest = 0
        """Watches from an older version get 410."""
        self.denied: set[str] = set()
        self.token: str | None = None
        self.lists: deque[tuple[int, bytes]] = deque()
        """Answers to the next lists, in place of the true ones."""
        self.watches: deque[tuple[int, bytes]] = deque()
        """Answers to the next watches."""
        self.pages_gone = 0
        """How many continuations of lists get 410."""
        self.cut_after: int | None = None
        """Every watch breaks after so many lines, in the middle of the next."""
        self.drip = False
        """Lines are written in small pieces."""
        self.started: list[dict[str, Any]] = []
        """The events that the kubelets told, which are listed where that is allowed."""
        self.closing = False

    @property
    def address(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.tls is not None:
            connection.settimeout(10)
            connection = self.tls.wrap_socket(connection, server_side=True)
        return connection, address

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no fault of the server."""

    def put(self, pod: Pod) -> Pod:
        """The pod is made or changed."""
        with self.changed:
            key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
            self._tell("MODIFIED" if key in self.pods else "ADDED", pod)
            self.pods[key] = pod
        return pod

    def delete(self, pod: Pod, *, is_told: bool = True) -> None:
        """The pod is gone; with `is_told` false it was forgotten, too, as after a compaction."""
        with self.changed:
            self.pods.pop((pod["metadata"]["namespace"], pod["metadata"]["name"]), None)
            if is_told:
                self._tell("DELETED", pod)
            else:
                self.forget()

    def forget(self) -> None:
        """All versions up to now are too old."""
        with self.changed:
            self.version += 1
            self.oldest = self.version

    def leave(self, pod: Pod) -> None:
        """The pod ceases to match the labels: it is told of as deleted, and is there."""
        with self.changed:
            self._tell("DELETED", pod)

    def _tell(self, kind: str, pod: Pod) -> None:
        self.version += 1
        pod["metadata"]["resourceVersion"] = str(self.version)
        self.events.append((self.version, pod["metadata"]["namespace"], kind, json.loads(json.dumps(pod))))
        self.changed.notify_all()

    def count(self, kind: str) -> int:
        """How many lists, watches or finds of one pod were asked for."""
        return len([1 for asked, _ in self.requests if asked == kind])


@contextmanager
def api_server(tls: ssl.SSLContext | None = None) -> Iterator[ApiServer]:
    with ApiServer(tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            with server.changed:
                server.closing = True
                server.changed.notify_all()
            server.shutdown()
            thread.join()


def status(code: int, reason: str, message: str = "scripted") -> bytes:
    return json.dumps({"kind": "Status", "code": code, "reason": reason, "message": message}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        words = parts.path.removeprefix("/api/v1/").split("/")
        namespace = words[1] if words[0] == "namespaces" else "*"
        kind = "watch" if "watch" in query else "find" if "metadata.name" in query.get("fieldSelector", "") else "list"
        kind = "events" if words[-1] == "events" else kind
        self.server.requests.append((kind, {"namespace": namespace, **query}))
        if self.server.token is not None and self.headers["Authorization"] != f"Bearer {self.server.token}":
            self._answer(401, status(401, "Unauthorized"))
        elif namespace in self.server.denied:
            self._answer(403, status(403, "Forbidden", f'pods is forbidden in the namespace "{namespace}"'))
        elif kind == "events":
            self._events()
        elif kind != "watch":
            self._list(namespace, query)
        else:
            self._watch(namespace, query)

    def _events(self) -> None:
        if "events" in self.server.denied:
            return self._answer(403, status(403, "Forbidden", "events is forbidden"))
        metadata = {"resourceVersion": str(self.server.version)}
        body = {"kind": "EventList", "metadata": metadata, "items": self.server.started}
        return self._answer(200, json.dumps(body).encode())

    def _list(self, namespace: str, query: dict[str, str]) -> None:
        if self.server.lists:
            return self._answer(*self.server.lists.popleft())
        begin = int(query.get("continue", 0))
        if begin and self.server.pages_gone:
            self.server.pages_gone -= 1
            return self._answer(410, status(410, "Expired", "the continue token is too old"))
        with self.server.changed:
            wanted = query.get("fieldSelector", "").partition("metadata.name=")[2]
            items = [
                pod
                for (where, name), pod in self.server.pods.items()
                if namespace in ("*", where) and wanted in ("", name)
            ]
            end = begin + int(query.get("limit", 10_000))
            metadata = {"resourceVersion": str(self.server.version)}
            if end < len(items):
                metadata["continue"] = str(end)
            body = json.dumps({"kind": "PodList", "metadata": metadata, "items": items[begin:end]}).encode()
        return self._answer(200, body)

    def _watch(self, namespace: str, query: dict[str, str]) -> None:
        if self.server.watches:
            return self._answer(*self.server.watches.popleft())
        version, end = int(query["resourceVersion"]), time.monotonic() + float(query["timeoutSeconds"])
        if version < self.server.oldest:
            return self._answer(410, status(410, "Expired", "too old resource version"))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        written = 0
        while not self.server.closing and time.monotonic() < end:
            with self.server.changed:
                due = [event for event in self.server.events if event[0] > version and namespace in ("*", event[1])]
                if not due:
                    self.server.changed.wait(0.05)
                    continue
            version = due[-1][0]
            for _, _, kind, pod in due:
                line = json.dumps({"type": kind, "object": pod}).encode() + b"\n"
                if self.server.cut_after is not None and written >= self.server.cut_after:
                    self._chunk(line[: len(line) // 2])
                    self.close_connection = True
                    return None
                for at in range(0, len(line), 200 if self.server.drip else len(line)):
                    self._chunk(line[at : at + (200 if self.server.drip else len(line))])
                written += 1
        self._chunk(b"")
        return None

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...
