"""The figures that `jobmeter size` computes with, measured; each row has the name that `jobmeter size --json` gives it.

Records and summaries are those of `jobmeter up --demo`. Samples are this machine's; a job is there while they are
taken, made by `jobmeter run`. The agent and the server are those of a `jobmeter up` that is asked nothing. Rates come
from other measurements: `bench.http` and `bench.samples`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from jobmeter.run.commands.size import CONSTANTS
from jobmeter.run.demo import generator as demo
from jobmeter.store.open import open_store
from jobmeter.store.summaries import Summaries

NOW = datetime(2026, 5, 13, tzinfo=UTC)
LEAST = 2000
_COMMAND = [sys.executable, "-m", "jobmeter"]
_AT_ONCE = 1000
_SETTLE_SECONDS, _WATCH_SECONDS = 10.0, 20.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.sizing", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=15_616, help="records of the demo to store, at most all")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        record, summary = _stored(Path(folder, "records.db"), arguments.records)
        _row("record", record)
        _row("summary", summary)
        _samples()
        _processes(Path(folder, "data"))
    return 0


def _row(name: str, value: float) -> None:
    known = CONSTANTS[name]
    print(f"  {name}  {value:,.2f} {known.unit}   (size computes with {known.value:g})")


def _stored(file: Path, most: int) -> tuple[float, float]:
    """Bytes of a record and of a summary on SQLite, with indexes and kept sums."""
    url = f"sqlite:///{file}"
    jobs = list(demo.jobs(NOW))[: max(most, LEAST)]
    store, summaries = open_store(url, migrate=True), Summaries(url)
    try:
        empty = _size(file)
        for start in range(0, len(jobs), _AT_ONCE):
            store.put([demo.record(job) for job in jobs[start : start + _AT_ONCE]])
        while store.fold():
            pass
        full = _size(file)
        made = [(one, job.record_id) for job in jobs if (one := demo.summary(job, NOW)) is not None]
        for start in range(0, len(made), _AT_ONCE):
            summaries.put(made[start : start + _AT_ONCE])
        return (full - empty) / len(jobs), (_size(file) - full) / len(made)
    finally:
        summaries.close()
        store.close()


def _size(file: Path) -> int:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def _samples() -> None:
    """Values of a node and of a job in one reading, and bytes of a value as JSON."""
    inside = [*_COMMAND, "run", "--quiet", "--no-record", "--", *_COMMAND, "node", "--print", "--once"]
    lines = subprocess.run(inside, capture_output=True, text=True, check=True).stdout.splitlines()
    told = [json.loads(line) for line in lines]
    node = sum(len(one["values"]) for one in told if not one.get("job"))
    jobs = [one for one in told if one.get("job")]
    _row("values_node", node)
    if jobs:
        _row("values_job", sum(len(one["values"]) for one in jobs))
    values = sum(len(one["values"]) for one in told)
    _row("value_wire", sum(map(len, lines)) / values)


def _processes(data: Path) -> None:
    """What the members of a `jobmeter up` at rest cost."""
    with _up(data) as members:
        time.sleep(_SETTLE_SECONDS)
        before = _seconds(members["node"])
        time.sleep(_WATCH_SECONDS)
        _row("agent_core", (_seconds(members["node"]) - before) / _WATCH_SECONDS * 100)
        _row("agent_memory", _resident(members["node"]))
        _row("server_memory", _resident(members["server"]))


@contextmanager
def _up(data: Path) -> Iterator[dict[str, int]]:
    """The processes of a `jobmeter up` that measures this machine only, by what they do."""
    words = ["up", "--port", "0", "--data", str(data), "--no-facility", "--no-slurm", "--no-htcondor", "--no-oar"]
    process = subprocess.Popen([*_COMMAND, *words, "--no-kubernetes"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "jobmeter is ready" in line:
                break
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield dict(zip(("server", "node"), map(int, children), strict=True))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> float:
    """Mebibytes of memory, what it shares with others of the family as well: alone it has all of it."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    raise SystemExit(main())
