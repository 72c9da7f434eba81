"""Golden cases: what a real scontrol printed of jobs that ended, and the records that must come of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jobmeter.observe.batch.slurm_epilog import Settings, open_source
from jobmeter.observe.host import Host
from jobmeter.settings.load import load
from jobmeter.wire.auditor import encode_record
from tests.observe.scontrol_player import command
from tests.observe.slurm_tables import SetClock

CASES = Path(__file__).parents[1] / "cases" / "slurm_epilog"


def _forms() -> list[tuple[str, str]]:
    cases = sorted(path for path in CASES.iterdir() if path.is_dir())
    return [
        (case.name, form)
        for case in cases
        for form in ("text", "json")
        if form == "text" or (case / "scontrol.json").exists()
    ]


class Call(NamedTuple):
    """One job as its epilog saw it, or would have: what scontrol printed, and what slurmctld told."""

    name: str
    printed: str
    variables: dict[str, str]


def _calls(case: Path, form: str) -> Iterator[Call]:
    if (case / "jobs").is_dir():  # recorded in the epilogs themselves
        for file in sorted(
            (case / "jobs").glob("*.txt"), key=lambda file: [int(part) for part in file.stem.split("-")]
        ):
            told = file.with_suffix(".env").read_text().split("\0")
            yield Call(file.stem, file.read_text(), dict((each.partition("=")[::2]) for each in told))
        return
    hooks = _hooks(case)
    for job, printed in sorted(_jobs(case, form).items()):
        yield Call(str(job), printed, {"SLURM_JOB_ID": str(job), **hooks.get(job, {})})


def _jobs(case: Path, form: str) -> dict[int, str]:
    """What scontrol printed of each job, by its number."""
    if form == "json":
        jobs = json.loads((case / "scontrol.json").read_text())["jobs"]
        return {job["job_id"]: json.dumps({"jobs": [job]}) for job in jobs}
    blocks = re.split(r"\n\n(?=JobId=)", (case / "scontrol.txt").read_text())
    return {int(block.split(maxsplit=1)[0].partition("=")[2]): block for block in blocks}


def _hooks(case: Path) -> dict[int, dict[str, str]]:
    """The variables that slurmctld gave the epilog of each job; of several runs, those of the last."""
    found: dict[int, dict[str, str]] = {}
    for block in (case / "hooks.log").read_text().split("== epilog_ctl")[1:]:
        lines = (line.partition("=") for line in block.splitlines()[1:])
        variables = {name: value for name, _, value in lines if name.startswith("SLURM_")}
        if "SLURM_JOB_ID" in variables:
            found[int(variables["SLURM_JOB_ID"])] = variables
    return found


def _outcome(folder: Path, printed: str, form: str, settings: Settings, hook: dict[str, str]) -> Any:
    name = "scontrol.json" if form == "json" else "scontrol.txt"
    path = command(folder, {name: printed})
    environment = {"PATH": "/usr/bin:/bin", **hook}
    changed = {field: getattr(settings, field) for field in settings.__struct_fields__}
    changed |= {"scontrol_path": str(path), "scontrol_format": form}
    (batch,) = open_source(Settings(**changed), Host(Path("/"), SetClock(), environment)).read(None)
    if batch.records:
        return json.loads(encode_record(batch.records[0]))
    return [entry.reason for entry in batch.refused] or batch.ignored


@pytest.mark.parametrize(("name", "form"), _forms())
def test_recorded_jobs_become_the_expected_records(name: str, form: str, tmp_path: Path) -> None:
    case = CASES / name
    settings = load(Settings, file=case / "settings.yml", environment={}, prefix=None).settings
    found = {
        call.name: _outcome(tmp_path / call.name, call.printed, form, settings, call.variables)
        for call in _calls(case, form)
    }
    expected = case / f"expected-{form}.json"
    if os.environ.get("JOBMETER_ACCEPT_CASES"):
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())
