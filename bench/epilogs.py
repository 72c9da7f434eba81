"""Many epilogs at once: how long until all have returned, and whether each left its job in the spool.

All processes are started before the first has ended, as when a large array or a node ends. Nothing delivers meanwhile.
A bare interpreter is started as often and in the same way, for comparison.
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
from pathlib import Path
from typing import NamedTuple

from bench.http import row
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.observe.host import SystemClock

_RECORDED = Path(__file__).parents[1] / "tests/cases/slurm_epilog/22.05-in-the-epilog/jobs/7-1.txt"
"""What a real scontrol printed of a job 7."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.epilogs", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=1000, help="how many epilogs at once")
    count: int = parser.parse_args(argv).records
    bare = _took([sys.executable, "-c", "pass"], count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = _config(folder)
        epilogs = _took([sys.executable, "-m", "jobmeter", "collect", "slurm-epilog", str(config)], count)
        with Spool(folder / "spool", SpoolSettings(), SystemClock()) as spool:
            entries = spool.status().entries
    row(f"{count} epilogs at once, until the last returned", epilogs.seconds, "s")
    row(f"{count} bare interpreters at once", bare.seconds, "s")
    row("an epilog, more than a bare interpreter", (epilogs.seconds - bare.seconds) / count * 1000, "ms")
    more = epilogs.processor_seconds - bare.processor_seconds
    row("an epilog, more processor time than a bare interpreter", more / count * 1000, "ms")
    row("jobs in the spool afterwards", entries, "jobs")
    return 0 if entries == count else 1


class Took(NamedTuple):
    """Until the last process had ended, and the processor time of all with what they started."""

    seconds: float
    processor_seconds: float


def _took(command: list[str], count: int) -> Took:
    base = {**os.environ, "SLURM_SCRIPT_CONTEXT": "epilog_slurmctld"}
    started, before = time.perf_counter(), _processor_seconds()
    processes = [
        subprocess.Popen(command, env=base | {"SLURM_JOB_ID": str(number)}, stderr=subprocess.DEVNULL)
        for number in range(1, count + 1)
    ]
    failed = sum(process.wait() != 0 for process in processes)
    assert not failed, f"{failed} of {count} failed"
    return Took(time.perf_counter() - started, _processor_seconds() - before)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _config(folder: Path) -> Path:
    scontrol = folder / "scontrol"
    asked = '[ "$1" = --version ] && { echo "slurm 22.05.8"; exit; }'
    scontrol.write_text(f'#!/bin/sh\n{asked}\nexec sed "s/^JobId=7 /JobId=$4 /" "{_RECORDED}"\n')
    scontrol.chmod(0o755)
    config = folder / "epilog.yml"
    config.write_text(
        f"scontrol_path: {scontrol}\nscontrol_timeout_seconds: 120\ndeliver_seconds: 0\n"
        f"spool: {{path: {folder}/spool}}\ncomponents: [{{name: Cores, key: NumCPUs}}]\n"
    )
    return config


if __name__ == "__main__":
    raise SystemExit(main())
