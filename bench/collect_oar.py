"""How fast the history of an OAR is read into a spool, and how much memory that takes.

A program that stands in for oarstat prints generated jobs as OAR 2.5 does, those of the time that is asked for. A
process of its own reads a tenth of them first, so that memory which grows with the history shows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jobmeter.contract import JobSource
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.observe.batch.oar import Settings, open_source
from jobmeter.observe.host import Host, SystemClock
from jobmeter.observe.shape.rules import ComponentRule, KeyType, MetaRule

BEGIN = 1_700_000_000
SPACING_SECONDS = 4
"""21,600 jobs end every day."""

_PRINTS = """\
import re, sys
count, begin, spacing = (int(given) for given in sys.argv[1:4])
if "--sql" not in sys.argv:
    print("{" + ",".join('"%d":{"type":"default","network_address":"node%d","core":%d}' % (n, n // 16, n)
                         for n in range(1, 641)) + "}")
    sys.exit()
start, stop = (int(found) for found in re.findall(r"stop_time (?:>=|<) (\\d+)", sys.argv[-1]))
first, last = max(0, -((begin - start) // spacing)), min(count, -((begin - stop) // spacing))
entries = []
for number in range(first, last):
    end, node = begin + number * spacing, number % 600
    entries.append('''   "%d" : {
      "Job_Id" : %d, "array_id" : %d, "array_index" : 1, "name" : "analysis",
      "owner" : "user%d", "job_user" : "user%d",
      "project" : "physics", "queue" : "default", "state" : "Terminated", "exit_code" : 0, "jobType" : "PASSIVE",
      "submissionTime" : %d, "startTime" : %d, "stopTime" : %d, "scheduledStart" : null, "walltime" : 7200,
      "reservation" : "None", "resubmit_job_id" : 0, "types" : [], "dependencies" : [], "cpuset_name" : "user_1",
      "message" : "R=2,W=2:0:0,J=B,N=analysis,P=physics (Karma=0.000,quota_ok)", "command" : "./analyse.sh --all",
      "launchingDirectory" : "/home/user/analysis", "stdout_file" : "OAR.1.stdout", "stderr_file" : "OAR.1.stderr",
      "properties" : "(desktop_computing = 'NO') AND drain='NO'", "initial_request" : "oarsub -l /core=2 ./analyse.sh",
      "wanted_resources" : "-l {type = 'default'}/core=2,walltime=2:0:0", "assigned_network_address" : [ "node%d" ],
      "assigned_resources" : [ %d, %d ],
      "events" : [ { "event_id" : 7, "type" : "SWITCH_INTO_TERMINATE_STATE", "date" : %d, "to_check" : "NO",
                     "description" : "[bipbip 7] Ask to change the job state" } ]
   }''' % (number + 1, number + 1, number + 1, number % 500, number % 500, end - 3700, end - 3600, end, node // 16,
           node + 1, node + 2, end))
if entries:
    sys.stdout.write("{\\n" + ",\\n".join(entries) + "\\n}\\n")
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the rate, the peak of memory, and by how much it grew over a tenth of the jobs."""
    parser = argparse.ArgumentParser(prog="bench.collect_oar", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--alone", action="store_true", help="measure in this process and print JSON")
    options = parser.parse_args(argv)
    if options.alone:
        print(json.dumps(_measured(options.records)))
        return 0
    small, whole = (_apart(count) for count in (max(1, options.records // 10), options.records))
    rows = (
        ("jobs read into the spool", options.records / whole["seconds"], "jobs/s"),
        ("peak memory", whole["peak"], "MiB"),
        ("memory more than with a tenth of the jobs", max(whole["peak"] - small["peak"], 0.0), "MiB"),
    )
    for work, value, unit in rows:
        print(f"  oar: {work:<46}  {value:>10,.1f} {unit}")
    return 0


def _apart(count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.collect_oar", "--alone", "--records", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measured(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "printing.py"
        script.write_text(_PRINTS)
        program = folder / "oarstat"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{script}" {count} {BEGIN} {SPACING_SECONDS} "$@"\n')
        program.chmod(0o755)
        source = open_source(_settings(program), Host(Path("/"), _Then(count), dict(os.environ)))
        with Spool(folder / "spool.db", SpoolSettings(), SystemClock()) as spool:
            seconds, queued = _read(source, spool)
            assert queued == count, f"{queued} of {count} jobs came"
    return {"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


class _Then:
    """The clock an hour after the last job."""

    def __init__(self, count: int) -> None:
        self._now = datetime.fromtimestamp(BEGIN + count * SPACING_SECONDS + 3600, UTC)

    def now(self) -> datetime:
        return self._now


def _read(source: JobSource, spool: Spool) -> tuple[float, int]:
    started, queued = time.perf_counter(), 0
    for batch in source.read(None):
        queued += spool.absorb("bench", batch).queued
    return time.perf_counter() - started, queued


def _settings(program: Path) -> Settings:
    return Settings(
        oarstat_path=str(program),
        oarnodes_path=str(program),
        earliest_datetime=datetime.fromtimestamp(BEGIN - 3600, UTC),
        meta=(
            MetaRule("queue", "queue_name", KeyType.STRING),
            MetaRule("nodes", "nodes", KeyType.STRING),
            MetaRule("ending", "ending", KeyType.STRING),
            MetaRule("submitted", "submission_time", KeyType.DATE_TIME),
        ),
        components=(
            ComponentRule("Cores", "cores"),
            ComponentRule("NNodes", "hosts"),
            ComponentRule("Walltime", "walltime_seconds"),
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
