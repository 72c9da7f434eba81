"""`jobmeter run -- true` beside a bare interpreter: how much longer it takes, and how much of 50 ms of work is counted.

The two are started in turn, so that whatever else the machine does meets both; medians are compared.
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

_TIMES = 25
_WORK = (
    "import time\nend = time.process_time() + 0.05\nwhile time.process_time() < end: pass\nprint(time.process_time())"
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.started", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=_TIMES, help="how often each is started")
    times = min(parser.parse_args(argv).records, _TIMES)
    with tempfile.TemporaryDirectory() as name:
        run = [sys.executable, "-m", "jobmeter", "run", "--quiet"]
        bare, measured, stored = [], [], []
        for _ in range(times):
            bare.append(_milliseconds([sys.executable, "-c", "pass"]))
            measured.append(_milliseconds([*run, "--no-record", "--", "true"]))
            stored.append(_milliseconds([*run, "--spool", name, "--server", "http://127.0.0.1:1", "--", "true"]))
        shares = [_share(Path(name, "measured.json"), run) for _ in range(min(times, 9))]
    base = statistics.median(bare)
    print(f"  jobmeter run, more than a bare interpreter  {statistics.median(stored) - base:,.0f} ms")
    print(f"  the same with --no-record  {statistics.median(measured) - base:,.0f} ms")
    print(f"  a bare interpreter  {base:,.0f} ms")
    print(f"  of 50 ms of processor time is counted, at least  {min(shares) * 100:,.1f} percent")
    return 0


def _milliseconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=os.environ)
    return (time.perf_counter() - began) * 1000


def _share(file: Path, run: list[str]) -> float:
    command = [*run, "--no-record", "--json", str(file), "--", sys.executable, "-S", "-c", _WORK]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(file.read_text())["cpu_seconds"]) / float(told)


if __name__ == "__main__":
    raise SystemExit(main())
