"""Golden cases of the sections: files and recorded outputs of a host, and the documents that must come of them."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from jobmeter import registry
from jobmeter.contract import DocumentBatch, SourceUnreadable
from jobmeter.settings.load import load
from tests.observe.facility_host import Machine

CASES = Path(__file__).parents[1] / "cases"
KIND = "observe.facility"
ALL = [
    pytest.param(name, case, id=f"{name}-{case.name}")
    for name in registry.names(KIND)
    for case in sorted((CASES / name).iterdir())
    if case.is_dir()
]


def _machine(case: Path, folder: Path) -> Machine:
    machine = Machine(folder)
    if (case / "root").exists():
        shutil.copytree(case / "root", machine.root, dirs_exist_ok=True)
    for output in sorted((case / "commands").glob("*")) if (case / "commands").exists() else ():
        name, _, status = output.name.partition("@")
        machine.command(name, output.read_bytes(), int(status or 0))
    if (moment := case / "now.txt").exists():
        machine.clock.moment = datetime.fromisoformat(moment.read_text().strip())
    return machine


def observed(case: Path, name: str, machine: Machine) -> dict[str, Any]:
    plugin = registry.module(KIND, name)
    settings = load(plugin.Settings, file=case / "settings.toml", environment={}, prefix=None).settings
    batches: list[DocumentBatch] = []
    unreadable = []
    try:
        for batch in plugin.open_section(settings, machine.host).read(None):
            batches.append(batch)
    except SourceUnreadable as fault:
        unreadable.append(str(fault))
    told = [reason for batch in batches for reason in batch.unreadable]
    return {
        "documents": [{"kind": one.kind, **one.body} for batch in batches for one in batch.documents],
        "unreadable": [text.replace(str(machine.root), "") for text in [*told, *unreadable]],
    }


@pytest.mark.parametrize(("name", "case"), ALL)
def test_what_a_host_says_becomes_the_expected_documents(name: str, case: Path, tmp_path: Path) -> None:
    found = observed(case, name, _machine(case, tmp_path))
    expected = case / "expected.json"
    if os.environ.get("JOBMETER_ACCEPT_CASES"):
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())
    assert [list(document) for document in found["documents"]] == [
        list(document) for document in json.loads(expected.read_text())["documents"]
    ]
