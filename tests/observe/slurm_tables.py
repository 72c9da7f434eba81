"""Makes a folder for `fake_sacct.py`, the command that plays it, and sources that ask this command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobmeter.contract import JobBatch
from jobmeter.observe.batch.slurm import Settings, SlurmSource
from jobmeter.observe.host import Host

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
_FAKE = Path(__file__).with_name("fake_sacct.py")

BASE = {
    "JobID": "17",
    "JobIDRaw": "17",
    "State": "COMPLETED",
    "Submit": "2026-11-21T10:00:00",
    "Start": "2026-11-21T10:00:01",
    "End": "2026-11-21T10:30:00",
    "User": "alice",
    "Group": "physics",
    "NCPUS": "4",
    "MaxRSS": "",
    "TotalCPU": "00:00:00",
    "Comment": "",
    "Partition": "batch",
    "ReqMem": "100M",
    "NodeList": "n1",
}


class SetClock:
    """A clock that stands where it was set."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def advance(self, **span: float) -> None:
        self.time += timedelta(**span)


def row(**changes: str) -> dict[str, str]:
    """A job's row; `JobIDRaw` follows `JobID` unless it is given."""
    changes.setdefault("JobIDRaw", changes.get("JobID", BASE["JobID"]))
    return {**BASE, **changes}


def step(job: str, name: str, **changes: str) -> dict[str, str]:
    """A step's row, as empty where sacct leaves it empty."""
    empty = {"User": "", "Group": "", "Comment": "", "Partition": "", "ReqMem": ""}
    return {**BASE, **empty, "JobID": f"{job}.{name}", "JobIDRaw": f"{job}.{name}", **changes}


def write_table(folder: Path, rows: Iterable[Mapping[str, str]], version: str = "slurm 20.11.9") -> Path:
    """Put a recorded table into a folder; the command that prints it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["\x1f".join(BASE), *("\x1f".join(each.values()) for each in rows)]
    (folder / "sacct.txt").write_text("\n".join(line.replace("\n", "\u2424") for line in lines) + "\n")
    (folder / "version.txt").write_text(version + "\n")
    return command(folder)


def command(folder: Path) -> Path:
    """A command that plays the folder, found at the returned path."""
    path = folder / "sacct"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{_FAKE}" "{folder}" "$@"\n')
    path.chmod(0o755)
    return path


def host(clock: SetClock, root: Path = Path("/")) -> Host:
    return Host(root, clock, {"PATH": "/usr/bin:/bin", "TZ": "Europe/Berlin", "SACCT_FORMAT": "JobName"})


def source(settings: Settings, clock: SetClock | None = None) -> SlurmSource:
    return SlurmSource(settings, host(clock or SetClock()))


def calls(folder: Path) -> list[tuple[list[str], dict[str, str | None]]]:
    """The arguments and the fixed variables of every call, in order."""
    return [(argv, fixed) for argv, fixed in map(json.loads, (folder / "calls.txt").read_text().splitlines())]


def record_ids(batches: Sequence[JobBatch]) -> list[str]:
    return [record.record_id for batch in batches for record in batch.records]
