"""How fast Slurm's history is read in, from a scripted sacct into the spool, and how much memory that takes.

The history is spread over days, as jobs are: a reading goes through it slice by slice. Memory is that of the reading
process alone, measured in a process of its own for a tenth of the history and for all of it: it must not grow with it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.observe.batch.slurm import Settings, open_source
from jobmeter.observe.host import Host, SystemClock
from jobmeter.observe.shape.rules import ComponentRule, KeyType, MetaRule

JOBS_MAX = 100_000
PER_DAY = 5_000
START = datetime(2024, 1, 1, tzinfo=UTC)

_SACCT = """\
import sys
from datetime import datetime, timedelta

argv = sys.argv[1:]
if argv == ["--version"]:
    print("slurm 22.05.8")
    sys.exit()
start = datetime(2024, 1, 1)
step = timedelta(seconds=86400 / {per_day})
after = lambda flag: argv[argv.index(flag) + 1]
first, stop = (datetime.fromisoformat(after(flag)) for flag in ("-S", "-E"))
mark = next(word.partition("=")[2] for word in argv if word.startswith("--delimiter="))
columns = [name.lower() for name in after("--format").split(",")]
values = {{"state": "COMPLETED", "user": "alice", "group": "physics", "ncpus": "8", "reqmem": "16000M",
          "totalcpu": "07:30:00", "maxrss": "", "comment": "a comment", "partition": "batch", "nodelist": "n1"}}
number = max(0, -(-(first - start) // step))
while number < {jobs} and start + number * step < stop:
    end = start + number * step
    times = {{"submit": end - timedelta(hours=2), "start": end - timedelta(hours=1), "end": end}}
    row = values | {{name: f"{{when:%Y-%m-%dT%H:%M:%S}}" for name, when in times.items()}}
    for suffix, rss in (("", ""), (".batch", "6582272"), (".0", "1708032")):
        row |= {{"jobid": f"{{number + 1}}{{suffix}}", "jobidraw": f"{{number + 1}}{{suffix}}", "maxrss": rss}}
        print(mark.join(row[name] for name in columns))
    number += 1
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.collect", description=__doc__)
    parser.add_argument("--records", type=int, default=JOBS_MAX, help="jobs in the history")
    parser.add_argument("--once", action="store_true", help="read in this process and say how long and how much memory")
    options = parser.parse_args(argv)
    if options.once:
        _read(options.records)
        return 0
    jobs: int = options.records
    print(
        f"Slurm history of {jobs:,} jobs with two steps each, {PER_DAY:,} a day, through sacct's table into the spool"
    )
    seconds, mebibytes = _measured(jobs)
    _, of_a_tenth = _measured(max(1, jobs // 10))
    print(f"  history read in  {jobs / seconds:,.0f} records/s  (sacct included)")
    print(f"  peak memory, all of it  {mebibytes:,.1f} MiB")
    print(f"  peak memory, a tenth of it  {of_a_tenth:,.1f} MiB")
    return 0


def _measured(jobs: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.collect", "--once", "--records", str(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, mebibytes = done.stdout.split()
    return float(seconds), float(mebibytes)


def _read(jobs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sacct.py").write_text(_SACCT.format(jobs=jobs, per_day=PER_DAY))
        sacct = folder / "sacct"
        sacct.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{folder}/sacct.py" "$@"\n')
        sacct.chmod(0o755)
        settings = Settings(
            sacct_path=str(sacct),
            sacct_format="text",
            earliest_datetime=START - timedelta(days=1),
            database_path=str(folder / "state.db"),
            meta=(MetaRule("comment", "Comment", KeyType.STRING),),
            components=(
                ComponentRule("Cores", "NCPUS"),
                ComponentRule("Memory", "ReqMem", KeyType.INTEGER_MEGA),
                ComponentRule("MaxRSS", "MaxRSS"),
                ComponentRule("TotalCPU", "TotalCPU", KeyType.TIME),
            ),
        )
        clock = _Standing(START + timedelta(days=jobs / PER_DAY + 1))
        source = open_source(settings, Host(Path("/"), clock, dict(os.environ)))
        started = time.perf_counter()
        with Spool(folder / "spool", SpoolSettings(), SystemClock()) as spool:
            for batch in source.read(None):
                spool.absorb("slurm", batch)
            assert spool.status().entries == jobs, spool.status()
        spent = time.perf_counter() - started
    print(f"{spent} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}")


class _Standing:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


if __name__ == "__main__":
    raise SystemExit(main())
