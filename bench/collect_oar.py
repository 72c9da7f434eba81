"""How fast the history of an OAR is read into a spool, and how much memory that takes.

A program that stands in for oarstat prints generated jobs as OAR 2.5 does, those of the time that is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench import history
from jobmeter.contract import JobSource
from jobmeter.observe.batch.oar import Settings, open_source
from jobmeter.observe.host import Host
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
    return history.main("oar", _opened, argv)


@contextmanager
def _opened(folder: Path, jobs: int) -> Iterator[JobSource]:
    program = history.program(folder, "oarstat", _PRINTS, jobs, BEGIN, SPACING_SECONDS)
    clock = history.Standing(datetime.fromtimestamp(BEGIN + jobs * SPACING_SECONDS + 3600, UTC))
    yield open_source(_settings(program), Host(Path("/"), clock, dict(os.environ)))


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
