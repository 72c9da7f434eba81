"""Stand-ins for OAR's commands, and what they answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jobmeter.contract import JobBatch, JobSource
from jobmeter.observe.batch.oar import Settings, open_source
from jobmeter.observe.host import Host

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOON = int(NOW.timestamp())
_SCRIPT = Path(__file__).with_name("fake_oarstat.py")


class SetClock:
    """A clock that is set by hand."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, **by: float) -> None:
        self._now += timedelta(**by)


def job(number: int = 17, **changes: Any) -> dict[str, Any]:
    """What oarstat says of a job that ended at eleven."""
    return {
        "Job_Id": number,
        "name": "work",
        "owner": "alice",
        "project": "physics",
        "queue": "default",
        "state": "Terminated",
        "exit_code": 0,
        "submissionTime": NOON - 7300,
        "startTime": NOON - 7200,
        "stopTime": NOON - 3600,
        "walltime": 7200,
        "types": [],
        "events": [],
        "assigned_resources": [1, 2],
        "array_id": number,
        "array_index": 1,
        **changes,
    }


NODES = {str(number): {"type": "default", "network_address": "n1", "core": number} for number in range(1, 9)}


def write_answers(folder: Path, jobs: Iterable[Mapping[str, Any]], nodes: Mapping[str, Any] = NODES) -> dict[str, str]:
    """Settings that name stand-ins for oarstat and oarnodes, which answer from this folder."""
    folder.mkdir(exist_ok=True)
    (folder / "oarstat.json").write_text(json.dumps({str(each["Job_Id"]): each for each in jobs}))
    (folder / "oarnodes.json").write_text(json.dumps(nodes))
    paths = {}
    for name in ("oarstat", "oarnodes"):
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -S {_SCRIPT} {folder} {name} "$@"\n')
        command.chmod(0o755)
        paths[f"{name}_path"] = str(command)
    return paths


def calls(folder: Path) -> list[list[str]]:
    """The arguments of every call so far, the name of the command first."""
    noted = folder / "calls.txt"
    return [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []


def source(settings: Settings, clock: SetClock | None = None) -> JobSource:
    return open_source(settings, Host(Path("/"), clock or SetClock(), {"PATH": "/usr/bin:/bin"}))


def record_ids(batches: Iterable[JobBatch]) -> list[str]:
    return [record.record_id for batch in batches for record in batch.records]
