"""What the measurements of collectors have in common: a history is read into a spool by a process of its own.

A tenth of the history is read by another process, so that memory which grows with the history shows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from jobmeter.contract import JobSource
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.observe.host import SystemClock

JOBS_MAX = 100_000

Opening = Callable[[Path, int], AbstractContextManager[JobSource]]
"""From an empty folder and a number of jobs: the source whose batch system has had so many."""


class Standing:
    """A clock that stands still."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


def program(folder: Path, name: str, script: str, *words: object) -> Path:
    """A command that runs the Python text `script` with these words before its own."""
    (folder / f"{name}.py").write_text(script)
    file = folder / name
    given = " ".join(str(word) for word in words)
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{folder}/{name}.py" {given} "$@"\n')
    file.chmod(0o755)
    return file


def main(name: str, opening: Opening, argv: Sequence[str] | None) -> int:
    """Print the rates, the peak of memory, and by how much it grew over a tenth of the jobs."""
    parser = argparse.ArgumentParser(prog=f"bench.collect_{name}", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=JOBS_MAX)
    parser.add_argument("--alone", action="store_true", help="measure in this process and print JSON")
    options = parser.parse_args(argv)
    if options.alone:
        print(json.dumps(_measured(opening, options.records)))
        return 0
    small, whole = (_apart(name, count) for count in (max(1, options.records // 10), options.records))
    rows = (
        ("jobs read into the spool", options.records / whole["seconds"], "jobs/s"),
        ("jobs read again, all known", options.records / whole["again"], "jobs/s"),
        ("peak memory", whole["peak"], "MiB"),
        ("memory more than with a tenth of the jobs", max(whole["peak"] - small["peak"], 0.0), "MiB"),
    )
    for work, value, unit in rows:
        print(f"  {name}: {work:<46}  {value:>10,.1f} {unit}")
    return 0


def _apart(name: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", f"bench.collect_{name}", "--alone", "--records", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measured(opening: Opening, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, opening(Path(folder), count) as source:
        file = Path(folder, "spool.db")
        with Spool(file, SpoolSettings(), SystemClock()) as spool:
            seconds, queued = _read(source, spool)
            assert queued == count, f"{queued} of {count} jobs came"
            again, queued = _read(source, spool)
            assert queued == 0, f"{queued} jobs came twice"
    return {"seconds": seconds, "again": again, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _read(source: JobSource, spool: Spool) -> tuple[float, int]:
    started, queued = time.perf_counter(), 0
    for batch in source.read(None):
        queued += spool.absorb("bench", batch).queued
    return time.perf_counter() - started, queued
