"""How fast the history of an HTCondor schedd is read into a spool, and how much memory that takes.

A program that stands in for condor_history prints generated jobs as JSON, newest first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench import history
from jobmeter.contract import JobSource
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
    return history.main("htcondor", _opened, argv)


@contextmanager
def _opened(folder: Path, jobs: int) -> Iterator[JobSource]:
    program = history.program(folder, "condor_history", _PRINTS, jobs)
    yield open_source(_settings(program), Host(Path("/"), SystemClock(), dict(os.environ)))


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
