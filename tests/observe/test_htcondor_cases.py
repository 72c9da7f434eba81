"""Golden cases: what a real HTCondor printed, and the records that must come of it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobmeter.contract import JobBatch
from jobmeter.observe.batch.htcondor import Settings
from jobmeter.settings.load import load
from jobmeter.wire.auditor import encode_record
from tests.observe.htcondor_history import command, source

CASES = Path(__file__).parents[1] / "cases" / "htcondor"


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


def _forms() -> list[tuple[str, str]]:
    cases = sorted(path for path in CASES.iterdir() if path.is_dir())
    return [
        (case.name, form)
        for case in cases
        for form, file in (("json", "history.json"), ("values", "history.values"))
        if (case / file).exists()
    ]


@pytest.mark.parametrize(("name", "form"), _forms())
def test_recorded_output_becomes_the_expected_records(name: str, form: str, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    shutil.copytree(CASES / name, folder)
    variables = {
        "S_CONDOR_HISTORY_PATH": str(command(folder)),
        "S_EARLIEST_DATETIME": "2000-01-01T00:00:00Z",
        "S_HISTORY_FORMAT": form,
    }
    config = load(Settings, file=folder / "settings.yml", environment=variables, prefix="S_").settings
    found = _outcome(list(source(config).read(None)))
    expected = CASES / name / "expected.json"
    if os.environ.get("JOBMETER_ACCEPT_CASES"):
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())
