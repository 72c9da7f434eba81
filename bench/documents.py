"""How many facility documents the receiving end takes in a second, durable, each with a token that is checked.

    python -m bench.documents --records 100000                              # SQLite in a temporary folder
    python -m bench.documents --records 100000 --database postgresql://…    # an EMPTY database

Documents are those of 5,000 jobs and 50 hosts, again and again. Every answer is checked: 200 means stored on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import uvloop

from bench.http import ask, memory_bytes, processor_seconds, request, row, send_all, server
from jobmeter.model.access import Grant, Limits, Role
from jobmeter.model.token import Token
from jobmeter.serve.secret import digest_of
from jobmeter.store.migrate import upgrade
from jobmeter.store.tokens import Tokens

CONNECTIONS = 64
ARRAY = 500
ARRAY_CONNECTIONS = 4
SECRET = "jobmeter_bench"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one line a row."""
    parser = argparse.ArgumentParser(prog="bench.documents", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000, metavar="N", help="documents to post, each way")
    parser.add_argument("--database", metavar="URL", help="default: SQLite in a temporary folder")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="jobmeter-bench-") as folder:
        url = arguments.database or f"sqlite:///{folder}/records.db"
        upgrade(url)
        tokens = Tokens(url)
        clusters = Limits(clusters=("UC-AF",))
        grant = Grant(frozenset({Role.WRITE_DOCUMENTS}), clusters)
        reads = Grant(frozenset({Role.READ, Role.MONITOR}))
        tokens.add(Token("bench", (grant, reads), datetime.now(UTC)), digest_of(SECRET))
        tokens.close()
        os.environ["JOBMETER_ACCESS__REQUIRED"] = "true"
        with server(url, Path(folder)) as (port, pid):
            return measure(port, pid, arguments.records)


def measure(port: int, pid: int, count: int) -> int:
    """All rows of one server."""
    made = documents()
    requests = [request("POST", "/", body) for body in islice(made, count)]
    before = processor_seconds(pid)
    seconds = uvloop.run(send_all(port, requests, CONNECTIONS))
    used = processor_seconds(pid) - before
    row(f"one document a request, {CONNECTIONS} connections", count / seconds, "documents/s")
    row("processor time of the server for each", used / count * 1e6, "us")
    arrays = [b"[" + b",".join(islice(made, ARRAY)) + b"]" for _ in range(max(1, count // ARRAY))]
    requests = [request("POST", "/", body) for body in arrays]
    seconds = uvloop.run(send_all(port, requests, ARRAY_CONNECTIONS))
    row(f"arrays of {ARRAY}, {ARRAY_CONNECTIONS} connections", len(arrays) * ARRAY / seconds, "documents/s")
    row("memory of the server after that", memory_bytes(pid) / 1e6, "MB")
    for question in ("users?by=month", "hosts", "waits", "queues"):
        began = time.perf_counter()
        _ask(port, f"/v2/facility/{question}")
        row(f"answer to {question}", (time.perf_counter() - began) * 1000, "ms")
    return 0


def documents() -> Iterator[bytes]:
    """Documents as hosts and jobs give them, without end."""
    number = 0
    while True:
        number += 1
        base = {"token": SECRET, "kind": "condorjob", "cluster": "UC-AF"}
        if number % 50 == 0:
            node = f"login{number // 50 % 50:02}.example.org"
            yield json.dumps({**base, "kind": "CPU", "login_node": node, "load": number % 700 / 100}).encode()
            continue
        state = ("idle", "running", "finished")[number // 5000 % 3]
        job = {"users": f"user{number % 300}", "Id": f"{number % 5000}.0", "Runtime": number % 9000, "state": state}
        yield json.dumps({**base, **job}).encode()


def _ask(port: int, path: str) -> bytes:
    return ask(port, path, secret=SECRET)


if __name__ == "__main__":
    sys.exit(main())
