"""What the server does in a second over HTTP, as a process of its own beside this load generator.

    python -m bench.http --records 1000000                                  # SQLite in a temporary folder
    python -m bench.http --records 1000000 --database postgresql://…        # an EMPTY database, filled by this

A database that holds records already is only asked; with `--archive PATH` its archive lies there.

Requests are made beforehand; every answer is checked. Writes are counted when their 200 has come, so they are durable.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import uvloop

from bench.records import replicated, site_name
from jobmeter.wire.auditor import encode_record

CONNECTIONS = 64
BULK_CONNECTIONS = 4
BULK_RECORDS = 1000
BULKS_A_ROUND = 100
SINGLE_RECORDS_MAX = 200_000
ASKS = 100
STREAM_LIMIT_BYTES = 1 << 20
_READY = re.compile(r"ready at http://127\.0\.0\.1:(\d+)")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one line a row."""
    parser = argparse.ArgumentParser(prog="bench.http", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000, metavar="N", help="records to post in bulk")
    parser.add_argument("--database", metavar="URL", help="default: SQLite in a temporary folder")
    parser.add_argument("--archive", type=Path, metavar="PATH", help="where the files of its archive lie")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="jobmeter-bench-") as folder:
        url = arguments.database or f"sqlite:///{folder}/records.db"
        more = [] if arguments.archive is None else _archived(Path(folder) / "server.toml", arguments.archive)
        with server(url, Path(folder), more) as (port, pid):
            return measure(port, pid, arguments.records)


def measure(port: int, pid: int, count: int) -> int:
    """All rows of one server. 1 when an answer was not as it must be."""
    held = int(json.loads(ask(port, "/v2/totals?sum=count"))["groups"][0]["values"][0] or 0) if _holds(port) else 0
    singles = 0 if held else min(count, SINGLE_RECORDS_MAX)
    if not held:
        _post(port, pid, count, singles)
    return _read(port, pid, held or count + singles)


def _archived(file: Path, folder: Path) -> list[str]:
    """What makes a server look for archive files in `folder`."""
    file.write_text(f'[archive]\npath = "{folder.absolute()}"\n', encoding="utf-8")
    return [str(file)]


def _holds(port: int) -> bool:
    return bool(ask(port, "/records?limit=1").strip())


def _post(port: int, pid: int, count: int, singles: int) -> None:
    made = (encode_record(one) for one in replicated(count + singles))
    requests = [request("POST", "/record", body) for body in islice(made, singles)]
    spent = processor_seconds(pid)
    seconds = uvloop.run(send_all(port, requests, CONNECTIONS))
    spent = (processor_seconds(pid) - spent) / singles
    row(f"single, one record a request, {CONNECTIONS} connections", singles / seconds, "records/s", spent)
    del requests
    seconds, spent = 0.0, processor_seconds(pid)
    while bodies := [list(islice(made, BULK_RECORDS)) for _ in range(BULKS_A_ROUND)]:
        requests = [request("POST", "/records", b"[" + b",".join(body) + b"]") for body in bodies if body]
        if not requests:
            break
        seconds += uvloop.run(send_all(port, requests, BULK_CONNECTIONS))
    spent = (processor_seconds(pid) - spent) / count
    row(f"bulk, {BULK_RECORDS} records a request, {BULK_CONNECTIONS} connections", count / seconds, "records/s", spent)
    row("memory of the server after ingest", memory_bytes(pid) / 1e6, "MB")


def _read(port: int, pid: int, expected: int) -> int:
    spent = processor_seconds(pid)
    received, seconds, most_bytes = stream(port, pid)
    row("stream all records out", received / seconds, "records/s", (processor_seconds(pid) - spent) / received)
    row("memory of the server while streaming, most", most_bytes / 1e6, "MB")
    last = f"slurm-{site_name(3)}-"
    known = json.loads(ask(port, "/records?limit=1").splitlines()[0])["record_id"]
    row("one record by id, median", latency_ms(port, f"/record/{known}"), "ms")
    row("one record by id that is unknown, median", latency_ms(port, f"/record/{last}0", status=404), "ms")
    first = f"/v2/records?limit=100&meta[site_id][c][0]={site_name(3)}"
    row("first page of 100 of a site, median", latency_ms(port, first), "ms")
    totals = "/v2/totals?group_by=site_id,month&sum=count,Cores*runtime"
    row("total site x month: count, Cores*runtime, median", latency_ms(port, totals), "ms")
    page = f"/records?stop_time[gte]=2025-06-01T00:00:00Z&meta[site_id][c][0]={site_name(3)}&limit=100"
    row("first page of 100 of a site since a day, median", latency_ms(port, page), "ms")
    if received != expected:
        print(f"{expected} records are stored, {received} came back", file=sys.stderr)
        return 1
    return 0


def row(work: str, value: float, unit: str, spent_seconds: float | None = None) -> None:
    """Print a figure; with what the server's processor spent on each."""
    processor = "" if spent_seconds is None else f"   processor {spent_seconds * 1e6:.1f} us each"
    print(f"{work:<56}  {value:>12,.2f} {unit}{processor}", flush=True)


def processor_seconds(pid: int) -> float:
    """The processor time that a process has used until now."""
    used = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(url: str, folder: Path, more: Sequence[str] = ()) -> Iterator[tuple[int, int]]:
    """A server on a free port, as (port, process id), until the block ends."""
    start = "import sys; from jobmeter.run.main import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "serve", "--port", "0", "--database", url, "--data", str(folder), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        match = _READY.search(said)
        if match is None:
            raise SystemExit(f"the server did not start: {said!r}")
        try:
            yield int(match[1]), process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """A whole request."""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\nuser-agent: bench\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


class Sender(asyncio.Protocol):
    """One connection that sends the next request when the answer to the last has come."""

    def __init__(self, requests: Iterator[bytes], open_senders: set[Sender], done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._open = open_senders
        self._done = done
        open_senders.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._write = transport.write
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200"):
            self._done.set_exception(RuntimeError(data.decode(errors="replace")))
            return
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        if not self._done.done():
            if exc is not None:
                self._done.set_exception(exc)
            elif not self._open:
                self._done.set_result(None)

    def _next(self) -> None:
        following = next(self._requests, None)
        if following is None:
            self._transport.close()
        else:
            self._write(following)


async def send_all(port: int, requests: Sequence[bytes], connections: int) -> float:
    """Send each request once, `connections` at a time. The seconds that it took. Answers must be 200 and empty."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    senders: set[Sender] = set()
    waiting = iter(requests)
    made = [Sender(waiting, senders, done) for _ in range(connections)]
    began = time.perf_counter()
    for sender in made:
        await loop.create_connection(lambda sender=sender: sender, "127.0.0.1", port)  # type: ignore[misc]
    await done
    return time.perf_counter() - began


def stream(port: int, pid: int) -> tuple[int, float, int]:
    """All records once: how many, in which time, and the most memory that the server held meanwhile."""
    stop = threading.Event()
    seen = [memory_bytes(pid)]

    def watch() -> None:
        while not stop.wait(0.05):
            seen.append(memory_bytes(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    count = 0
    last = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request("GET", "/records"))
        while not last.endswith(b"\r\n0\r\n\r\n"):
            piece = connection.recv(STREAM_LIMIT_BYTES)
            if not piece:
                raise SystemExit("the list broke off")
            count += piece.count(b"}\n")
            count += last.endswith(b"}") and piece.startswith(b"\n")
            last = (last + piece)[-7:]
    seconds = time.perf_counter() - began
    stop.set()
    watcher.join()
    return count, seconds, max(seen)


def ask(port: int, path: str, status: int = 200, secret: str | None = None) -> bytes:
    """The body of an answer, on a connection of its own; with the token `secret`."""
    shown = "" if secret is None else f"authorization: Bearer {secret}\r\n"
    more = f"connection: close\r\n{shown}accept"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request("GET", path).replace(b"accept", more.encode(), 1))
        whole = b"".join(iter(lambda: connection.recv(STREAM_LIMIT_BYTES), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 %d" % status):
        raise SystemExit(whole.decode(errors="replace"))
    if b"chunked" in head:
        return b"".join(part for index, part in enumerate(body.split(b"\r\n")) if index % 2)
    return body


def latency_ms(port: int, path: str, status: int = 200) -> float:
    """The median time of a whole exchange, connection included."""
    took = []
    for _ in range(ASKS):
        began = time.perf_counter()
        ask(port, path, status)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def memory_bytes(pid: int) -> int:
    """The memory of the process's own; pages of the database file that it maps are the machine's cache."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    match = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(match[1]) * 1024 if match else 0


if __name__ == "__main__":
    sys.exit(main())
