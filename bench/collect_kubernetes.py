"""How fast the ended pods of a Kubernetes cluster are read into a spool, and how much memory that takes.

A program that stands in for the API server makes the pods up page by page; its watch tells nothing and stays open.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench import history
from jobmeter.contract import JobSource
from jobmeter.observe.batch.kubernetes import Settings, open_source
from jobmeter.observe.host import Host, SystemClock

_SERVES = """\
import json, sys, threading
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

count, begin = int(sys.argv[1]), datetime(2024, 1, 1)

def pod(number):
    end = begin + timedelta(seconds=4 * number)
    start, stop = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (end - timedelta(hours=1), end))
    state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": start, "finishedAt": stop}}
    return {"metadata": {"name": f"job-{number}", "namespace": f"group{number % 20}",
                         "resourceVersion": str(number + 1), "uid": f"{number:08}-0000-4000-8000-000000000000",
                         "labels": {"app": "analysis"},
                         "ownerReferences": [{"kind": "Job", "name": f"job-{number}", "controller": True}]},
            "spec": {"nodeName": f"n{number % 50}", "containers": [
                {"name": "main", "image": "busybox", "command": ["sh", "-c", "true"], "resources":
                 {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"cpu": "4", "memory": "8Gi"}}}]},
            "status": {"phase": "Succeeded", "startTime": start, "podIP": "10.1.2.3",
                       "containerStatuses": [{"name": "main", "ready": False, "restartCount": 0, "state": state}]}}

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if "watch" in query:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.flush()
            threading.Event().wait(float(query["timeoutSeconds"]))
            return
        first = int(query.get("continue", 0))
        last = min(count, first + int(query["limit"]))
        metadata = {"resourceVersion": str(count)} | ({"continue": str(last)} if last < count else {})
        items = [pod(number) for number in range(first, last)]
        body = json.dumps({"kind": "PodList", "metadata": metadata, "items": items}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def main(argv: Sequence[str] | None = None) -> int:
    return history.main("kubernetes", _opened, argv)


@contextmanager
def _opened(folder: Path, jobs: int) -> Iterator[JobSource]:
    command = [sys.executable, "-S", "-c", _SERVES, str(jobs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = f"http://127.0.0.1:{int(server.stdout.readline())}"
            settings = Settings(
                kubeconfig=str(_kubeconfig(folder, address)),
                database_path=str(folder),
                earliest_datetime=datetime(2023, 1, 1, tzinfo=UTC),
            )
            yield open_source(settings, Host(Path("/"), SystemClock(), dict(os.environ)))
        finally:
            server.kill()


def _kubeconfig(folder: Path, address: str) -> Path:
    """Access to the server at `address`; JSON is YAML, too."""
    content = {
        "clusters": [{"name": "bench", "cluster": {"server": address}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(content))
    return file


if __name__ == "__main__":
    raise SystemExit(main())
