"""How fast the history of an HTCondor schedd is read into a spool, and how much memory that takes.

A program that stands in for condor_history prints generated jobs as JSON, newest first. The same number is read in a
process of its own that takes a tenth first, so that memory which grows with the history shows.
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
from jobmeter.observe.batch.htcondor import Settings, open_source
from jobmeter.observe.host import Host, SystemClock
from jobmeter.observe.htcondor.settings import ComponentRule, Entry, Score

_PRINTS = """\
import sys
count, end = int(sys.argv[1]), 1700000000
write = sys.stdout.write
write("[\\n")
for number in range(count, 0, -1):
    stop = end - number % 3000
    write('''{
  "ClusterId": %d,
  "CompletionDate": %d,
  "CpusProvisioned": %d,
  "EnteredCurrentStatus": %d,
  "GlobalJobId": "submit.example.org#%d.0#%d",
  "JobCurrentStartDate": %d,
  "JobStatus": 4,
  "LastJobStatus": 2,
  "LastMatchTime": %d,
  "LastRemoteHost": "slot1_%d@node%d.example.org",
  "MachineAttrApelSpecs0": "HEPSPEC 13.7; HEPscore23: 12.5",
  "MemoryProvisioned": 2048,
  "NumJobStarts": 1,
  "Owner": "user%d",
  "ProcId": 0,
  "RemoteUserCpu": %d.0,
  "VoName": "atlas"
}
''' % (number, stop, number %% 8 + 1, stop, number, stop - 9000, stop - 7200, stop - 7200, number %% 64, number %% 900,
       number %% 400, number %% 7000))
    write(",\\n" if number > 1 else "]\\n")
""".replace("%%", "%")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the rate, the peak of memory, and by how much it grew over a tenth of the jobs."""
    parser = argparse.ArgumentParser(prog="bench.collect_htcondor", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--alone", action="store_true", help="measure in this process and print JSON")
    options = parser.parse_args(argv)
    if options.alone:
        print(json.dumps(_measured(options.records)))
        return 0
    small, whole = (_apart(count) for count in (max(1, options.records // 10), options.records))
    growth = max(whole["peak"] - small["peak"], 0.0)
    rows = (
        ("jobs read into the spool", options.records / whole["seconds"], "jobs/s"),
        ("jobs read again, all known", options.records / whole["again"], "jobs/s"),
        ("peak memory", whole["peak"], "MiB"),
        ("memory more than with a tenth of the jobs", growth, "MiB"),
    )
    for work, value, unit in rows:
        print(f"  htcondor: {work:<46}  {value:>10,.1f} {unit}")
    return 0


def _apart(count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.collect_htcondor", "--alone", "--records", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measured(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "printing.py"
        script.write_text(_PRINTS)
        program = folder / "condor_history"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" {count}\n')
        program.chmod(0o755)
        source = open_source(_settings(program), Host(Path("/"), SystemClock(), dict(os.environ)))
        with Spool(folder / "spool.db", SpoolSettings(), SystemClock()) as spool:
            seconds, queued = _read(source, spool)
            assert queued == count, f"{queued} of {count} jobs came"
            again, queued = _read(source, spool)
            assert queued == 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "again": again, "peak": peak}


def _read(source: JobSource, spool: Spool) -> tuple[float, int]:
    started, queued = time.perf_counter(), 0
    for batch in source.read(None):
        queued += spool.absorb("bench", batch).queued
    return time.perf_counter() - started, queued


def _settings(program: Path) -> Settings:
    spec = Score("HEPSPEC", key="MachineAttrApelSpecs0", matches=r"HEPSPEC\D+(\d+(\.\d+)?)")
    return Settings(
        state_db=str(program.parent / "none.db"),
        record_prefix="htcondor",
        schedd_names=("submit.example.org",),
        condor_history_path=str(program),
        earliest_datetime=datetime(2000, 1, 1, tzinfo=UTC),
        meta={
            "user": (Entry(key="Owner", matches="^(.+)$"),),
            "group": (Entry(key="VoName", matches="^(.+)$"),),
            "site": (Entry(key="LastRemoteHost", matches=r"@(node\d+)"), Entry(name="UNDEF")),
        },
        components=(
            ComponentRule("Cores", key="CpusProvisioned", scores=(spec,)),
            ComponentRule("Memory", key="MemoryProvisioned"),
            ComponentRule("UserCPU", key="RemoteUserCpu"),
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
