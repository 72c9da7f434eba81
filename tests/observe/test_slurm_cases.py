"""Golden cases: what a real Slurm printed, and the records that must come of it, by the text form and by the JSON."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobmeter.contract import JobBatch
from jobmeter.model.period import Period
from jobmeter.observe.batch.slurm import Settings
from jobmeter.settings.load import load
from jobmeter.wire.auditor import encode_record, parse_time
from tests.observe.slurm_tables import NOW, command, source

CASES = Path(__file__).parents[1] / "cases" / "slurm"
_EVERYTHING = Period(parse_time("2000-01-01T00:00:00Z"), NOW)


def _forms() -> list[tuple[str, str]]:
    cases = sorted(path for path in CASES.iterdir() if path.is_dir())
    return [
        (case.name, form)
        for case in cases
        for form in ("text", "json")
        if form == "text" or (case / "sacct.json").exists()
    ]


def _outcome(batches: list[JobBatch]) -> dict[str, Any]:
    ignored: dict[str, int] = {}
    for batch in batches:
        for reason, count in batch.ignored.items():
            ignored[reason] = ignored.get(reason, 0) + count
    records = [json.loads(encode_record(record)) for batch in batches for record in batch.records]
    return {
        "records": sorted(records, key=lambda record: str(record["record_id"])),
        "refused": sorted(entry.reason for batch in batches for entry in batch.refused),
        "ignored": dict(sorted(ignored.items())),
    }


@pytest.mark.parametrize(("name", "form"), _forms())
def test_recorded_output_becomes_the_expected_records(name: str, form: str, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    shutil.copytree(CASES / name, folder)
    environment = {"S_SACCT_PATH": str(command(folder)), "S_SACCT_FORMAT": form, "S_SLICE_SECONDS": str(10**9)}
    settings = load(Settings, file=folder / "settings.yml", environment=environment, prefix="S_").settings
    found = _outcome(list(source(settings).read(None, _EVERYTHING)))
    expected = CASES / name / "expected.json"
    if os.environ.get("JOBMETER_ACCEPT_CASES"):
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())
