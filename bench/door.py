"""What it costs that the server asks who is there: single posts, open and with bearer tokens, in turn.

    python -m bench.door --records 20000

Each round posts fresh records over 64 connections to a server of its own on SQLite. The rows are medians of the rounds;
a token without limits, and one whose limits look at record id and site of every record.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.http import CONNECTIONS, request, row, send_all
from bench.records import records, site_name
from jobmeter.wire.auditor import encode_record

ROUNDS = 3
_READY = re.compile(r"ready at http://127\.0\.0\.1:(\d+)")
KINDS: dict[str, list[str] | None] = {
    "nobody is asked": None,
    "a token": ["--role=write"],
    "a token with limits": ["--role=write", "--record-prefix=slurm-", *(f"--site={site_name(n)}" for n in range(100))],
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one line a row."""
    parser = argparse.ArgumentParser(prog="bench.door", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=20_000, metavar="N", help="records a round")
    arguments = parser.parse_args(argv)
    bodies = [encode_record(one) for one in records(arguments.records)]
    rounds: dict[str, list[Round]] = {name: [] for name in KINDS}
    for _ in range(ROUNDS):
        for name, words in KINDS.items():
            with tempfile.TemporaryDirectory(prefix="jobmeter-bench-") as folder:
                rounds[name].append(posted(Path(folder), words, bodies))
    for name, found in rounds.items():
        row(f"single, {CONNECTIONS} connections: {name}", statistics.median(one.rate for one in found), "records/s")
        row(f"processor time a post: {name}", statistics.median(one.cpu_microseconds for one in found), "us")
    return 0


class Round(NamedTuple):
    """Records a second, and the processor time of the server for each."""

    rate: float
    cpu_microseconds: float


def posted(folder: Path, words: list[str] | None, bodies: Sequence[bytes]) -> Round:
    """Posts to a fresh server; with `words` for a token, it asks for one."""
    requests = [request("POST", "/record", body) for body in bodies]
    if words is not None:
        secret = run(folder, "token", "create", "bench", *words).strip()
        shown = f"\r\nauthorization: Bearer {secret}\r\naccept".encode()
        requests = [one.replace(b"\r\naccept", shown, 1) for one in requests]
    with server(folder, [] if words is None else ["--require-authentication"]) as (port, pid):
        before = cpu_seconds(pid)
        seconds = uvloop.run(send_all(port, requests, CONNECTIONS))
        return Round(len(requests) / seconds, (cpu_seconds(pid) - before) / len(requests) * 1e6)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(folder: Path, *words: str) -> str:
    """What a command of ours says."""
    command = [sys.executable, "-m", "jobmeter", *words, "--data", str(folder)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout


@contextmanager
def server(folder: Path, options: Sequence[str]) -> Iterator[tuple[int, int]]:
    """A server on a free port, as (port, process id), until the block ends."""
    command = [sys.executable, "-m", "jobmeter", "serve", "--port", "0", "--data", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        match = _READY.search(process.stdout.readline())
        if match is None:
            raise SystemExit("the server did not start")
        try:
            yield int(match[1]), process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
