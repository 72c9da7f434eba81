"""A strict server of today's `_bulk`: it refuses what a real one refuses, and can be told to misbehave.

Written after the documentation of Elasticsearch 8 and OpenSearch 2: no mapping types, ndjson only, a newline at the
end, lower-case indices; `create` of an id that is there gives 409, numbers are signed 64-bit.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Misbehaviour(NamedTuple):
    """One answer that is given in place of the right one; `after` what was asked has been done, or not at all."""

    status: int
    body: bytes
    headers: dict[str, str]
    after: bool = False


class BulkServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.documents: dict[str, dict[str, dict[str, Any]]] = {}
        self.mappings: dict[str, Any] = {}
        self.misbehave: deque[Misbehaviour] = deque()
        self.item_status: Callable[[int], int | None] = lambda _: None
        self.authorization: str | None = None
        self.most_bytes = 10**9
        self.creations = 0
        self.items_seen = 0
        self.requests = 0
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def __enter__(self) -> BulkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Handler(BaseHTTPRequestHandler):
    server: BulkServer
    protocol_version = "HTTP/1.1"

    def _respond(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _handle(self) -> None:
        server = self.server
        body = self._body()
        with server.lock:
            server.requests += 1
            if server.authorization is not None and self.headers.get("Authorization") != server.authorization:
                return self._respond(401, b'{"error":{"type":"security_exception"},"status":401}')
            bad = server.misbehave.popleft() if server.misbehave and self.path == "/_bulk" else None
            if bad is not None and not bad.after:
                return self._respond(bad.status, bad.body, bad.headers)
            status, answer = self._answer(body)
            if bad is not None:
                return self._respond(bad.status, bad.body, bad.headers)
            return self._respond(status, json.dumps(answer).encode())

    do_GET = do_HEAD = do_PUT = do_POST = _handle  # noqa: N815 - as the standard library calls them

    def _answer(self, body: bytes) -> tuple[int, Any]:
        index = self.path[1:]
        if self.command == "HEAD":
            return (200 if index in self.server.mappings else 404), {}
        if self.command == "PUT":
            if self.headers["Content-Type"] != "application/json":
                return 406, {"error": "Content-Type"}
            if index in self.server.mappings:
                return 400, {"error": {"type": "resource_already_exists_exception"}}
            if set(json.loads(body)["mappings"]) - {"properties", "dynamic", "_source"}:
                return 400, {"error": {"type": "mapper_parsing_exception", "reason": "unsupported: a mapping type"}}
            self.server.mappings[index] = json.loads(body)
            return 200, {"acknowledged": True}
        if self.path.rstrip("/") == "/_bulk":
            return self._bulk(body)
        return 400, {"error": f"no handler found for uri [{self.path}]"}

    def _bulk(self, body: bytes) -> tuple[int, Any]:
        server = self.server
        if len(body) > server.most_bytes:
            return 413, {"error": "too large"}
        if self.headers["Content-Type"] not in ("application/x-ndjson", "application/json"):
            return 406, {"error": "Content-Type"}
        if not body.endswith(b"\n"):
            return 400, {"error": {"reason": "The bulk request must be terminated by a newline [\\n]"}}
        lines = body.split(b"\n")[:-1]
        if len(lines) % 2:
            return 400, {"error": {"type": "illegal_argument_exception"}}
        items = [self._item(json.loads(action), line) for action, line in zip(lines[::2], lines[1::2], strict=True)]
        return 200, {"took": 1, "errors": any(item["create"]["status"] >= 300 for item in items), "items": items}

    def _item(self, action: dict[str, dict[str, str]], line: bytes) -> dict[str, dict[str, Any]]:
        server = self.server
        ((verb, meta),) = action.items()
        assert verb == "create"
        server.items_seen += 1
        meta.setdefault("_id", f"made-here-{server.items_seen}")

        def result(status: int, error: str | None = None) -> dict[str, dict[str, Any]]:
            failed = {} if error is None else {"error": {"type": error}}
            return {"create": {"_index": meta.get("_index"), "_id": meta.get("_id"), "status": status, **failed}}

        told = server.item_status(server.items_seen)
        if told is not None:
            return result(told, "es_rejected_execution_exception")
        if set(meta) - {"_index", "_id"}:
            return result(400, "illegal_argument_exception")
        if re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", meta["_index"]) is None:
            return result(400, "invalid_index_name_exception")
        document = json.loads(line)
        if any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in document.values()):
            return result(400, "document_parsing_exception")
        stored = server.documents.setdefault(meta["_index"], {})
        if meta["_id"] in stored:
            return result(409, "version_conflict_engine_exception")
        stored[meta["_id"]] = document
        server.creations += 1
        return result(201)

    def log_message(self, *_: object) -> None:
        pass
