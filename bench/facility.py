"""What a run of `jobmeter facility` takes: for sessions and the host, and with 5,000 jobs in the queue.

The commands of the batch system print what was made beforehand; the documents go to a server of ours on SQLite.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.http import row, server

JOBS = 5000
STARTS = 15
_CALL = "import sys; from jobmeter.run.main import main; sys.exit(main())"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one line a row."""
    parser = argparse.ArgumentParser(prog="bench.facility", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=JOBS, metavar="N", help="jobs in the queue")
    count = min(parser.parse_args(argv).records, JOBS)
    with tempfile.TemporaryDirectory(prefix="jobmeter-bench-") as name:
        folder = Path(name)
        _commands(folder, count)
        with server(f"sqlite:///{folder}/records.db", folder) as (port, _):
            url = f"http://127.0.0.1:{port}/"
            bare = statistics.median(_timed([sys.executable, "-I", "-c", "pass"], {}).seconds for _ in range(STARTS))
            runs = [_run(folder, "-s", "--host", "-u", url).seconds for _ in range(STARTS)][1:]
            row("sessions and host, more than a bare interpreter", (statistics.median(runs) - bare) * 1000, "ms")
            for array in (1, 500):
                took = _run(folder, "-b", "-q", "all:", "-u", url, "--array", str(array))
                work = f"{count} jobs, {array} documents a request"
                row(work, took.seconds, "s")
                row(f"{work}, processor time", took.processor_seconds, "s")
                row(f"{work}, memory", took.memory_bytes / 1e6, "MB")
    return 0


class Took(NamedTuple):
    """What a process took: `memory_bytes` is the most that it held."""

    seconds: float
    processor_seconds: float
    memory_bytes: int


def _run(folder: Path, *words: str) -> Took:
    environment = {"PATH": str(folder / "bin"), "STATE_DIRECTORY": str(folder / "state")}
    return _timed([sys.executable, "-c", _CALL, "facility", "--log-level", "warn", *words], environment)


def _timed(command: Sequence[str], environment: dict[str, str]) -> Took:
    began = time.perf_counter()
    process = subprocess.Popen(command, env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return Took(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _commands(folder: Path, count: int) -> None:
    (folder / "bin").mkdir()
    (folder / "state").mkdir()
    jobs = [
        {
            "Owner": f"user{number % 300}", "ClusterId": number, "ProcId": 0, "JobUniverse": 5,
            "GlobalJobId": f"submit.example.org#{number}.0#1", "JobStatus": number % 2 + 1, "CpusProvisioned": 8,
            "MemoryProvisioned": 16000, "RemoteWallClockTime": 0.0, "ServerTime": 1700000300, "ShadowBday": 1700000000,
            "QDate": 1699990000, "JobStartDate": 1700000000,
        }
        for number in range(count)
    ]  # fmt: skip
    printed = {
        "condor_q": json.dumps(jobs, indent=0),
        "condor_history": "[\n]\n",
        "who": "".join(f"user{number} pts/{number} 2026-01-01 00:00 (host)\n" for number in range(40)),
    }
    (folder / "bin" / "loginctl").write_text("#!/bin/sh\nexit 1\n")
    (folder / "bin" / "loginctl").chmod(0o755)
    for name, text in printed.items():
        (folder / name).write_text(text)
        script = folder / "bin" / name
        script.write_text(f"#!/bin/sh\nexec /bin/cat {folder / name}\n")
        script.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main())
