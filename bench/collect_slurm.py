"""How fast Slurm's history is read into a spool, through the table of a scripted sacct, and how much memory that takes.

The history is spread over days, as jobs are: a reading goes through it slice by slice. A job has two steps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import history
from jobmeter.contract import JobSource
from jobmeter.observe.batch.slurm import Settings, open_source
from jobmeter.observe.host import Host
from jobmeter.observe.shape.rules import ComponentRule, KeyType, MetaRule

PER_DAY = 5_000
START = datetime(2024, 1, 1, tzinfo=UTC)

_SACCT = """\
import sys
from datetime import datetime, timedelta

jobs, per_day = int(sys.argv[1]), int(sys.argv[2])
argv = sys.argv[3:]
if argv == ["--version"]:
    print("slurm 22.05.8")
    sys.exit()
start = datetime(2024, 1, 1)
step = timedelta(seconds=86400 / per_day)
after = lambda flag: argv[argv.index(flag) + 1]
first, stop = (datetime.fromisoformat(after(flag)) for flag in ("-S", "-E"))
mark = next(word.partition("=")[2] for word in argv if word.startswith("--delimiter="))
columns = [name.lower() for name in after("--format").split(",")]
values = {"state": "COMPLETED", "user": "alice", "group": "physics", "ncpus": "8", "reqmem": "16000M",
          "totalcpu": "07:30:00", "maxrss": "", "comment": "a comment", "partition": "batch", "nodelist": "n1"}
number = max(0, -(-(first - start) // step))
while number < jobs and start + number * step < stop:
    end = start + number * step
    times = {"submit": end - timedelta(hours=2), "start": end - timedelta(hours=1), "end": end}
    row = values | {name: f"{when:%Y-%m-%dT%H:%M:%S}" for name, when in times.items()}
    for suffix, rss in (("", ""), (".batch", "6582272"), (".0", "1708032")):
        row |= {"jobid": f"{number + 1}{suffix}", "jobidraw": f"{number + 1}{suffix}", "maxrss": rss}
        print(mark.join(row[name] for name in columns))
    number += 1
"""


def main(argv: Sequence[str] | None = None) -> int:
    return history.main("slurm", _opened, argv)


@contextmanager
def _opened(folder: Path, jobs: int) -> Iterator[JobSource]:
    settings = Settings(
        sacct_path=str(history.program(folder, "sacct", _SACCT, jobs, PER_DAY)),
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
    clock = history.Standing(START + timedelta(days=jobs / PER_DAY + 1))
    yield open_source(settings, Host(Path("/"), clock, dict(os.environ)))


if __name__ == "__main__":
    raise SystemExit(main())
