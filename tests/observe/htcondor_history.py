"""Makes a folder for `fake_condor_history.py`, the command that plays it, and sources that ask this command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jobmeter.contract import JobBatch
from jobmeter.observe.batch.htcondor import HtcondorSource, Settings
from jobmeter.observe.host import Host
from jobmeter.observe.htcondor.settings import ComponentRule, Entry
from tests.observe.slurm_tables import NOW, SetClock

_FAKE = Path(__file__).with_name("fake_condor_history.py")
ENDED = int(NOW.timestamp()) - 3600


def ad(cluster: int = 1, process: int = 0, **changes: Any) -> dict[str, Any]:
    """A job that completed an hour before NOW, as -json prints it; a change to None leaves the attribute out."""
    plain = {
        "GlobalJobId": f"s1#{cluster}.{process}#{ENDED - 100}",
        "ClusterId": cluster,
        "ProcId": process,
        "JobStatus": 4,
        "LastJobStatus": 2,
        "NumJobStarts": 1,
        "LastMatchTime": ENDED - 60,
        "JobCurrentStartDate": ENDED - 60,
        "CompletionDate": ENDED,
        "EnteredCurrentStatus": ENDED,
        "Owner": "alice",
        "CpusProvisioned": 4,
    }
    return {key: value for key, value in {**plain, **changes}.items() if value is not None}


def write_history(folder: Path, ads: Iterable[dict[str, Any]], schedd: str = "history") -> Path:
    """Put a recorded history, newest first, into a folder; the command that prints it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{schedd}.json").write_text(json.dumps(list(ads)))
    return command(folder)


def command(folder: Path) -> Path:
    """A command that plays the folder, found at the returned path."""
    path = folder / "condor_history"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{_FAKE}" "{folder}" "$@"\n')
    path.chmod(0o755)
    return path


def settings(program: Path, **more: Any) -> Settings:
    given = {
        "condor_history_path": str(program),
        "state_db": str(program.parent / "none.db"),
        "record_prefix": "htcondor",
        "schedd_names": ("s1",),
        "meta": {"site": (Entry(name="SITE"),), "user": (Entry(key="Owner"),)},
        "components": (ComponentRule(name="Cores", key="CpusProvisioned"),),
        **more,
    }
    return Settings(**given)


def source(config: Settings, clock: SetClock | None = None) -> HtcondorSource:
    return HtcondorSource(config, Host(Path("/"), clock or SetClock(), {"PATH": "/usr/bin:/bin"}))


def record_ids(batches: Iterable[JobBatch]) -> list[str]:
    return [record.record_id for batch in batches for record in batch.records]


def calls(folder: Path) -> list[list[str]]:
    path = folder / "calls.txt"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
