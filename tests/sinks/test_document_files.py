"""The files that `afmetrics_collector -d` writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobmeter.model.document import Document
from jobmeter.model.outcome import Accepted, Keep
from jobmeter.sinks.document_files import Settings, open_sink
from jobmeter.wire.document import encode_document

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FILES = {
    "jupyter-ml": "jupyter-debug.json",
    "jupyter-coffea": "jupyter-debug.json",
    "ssh": "ssh.json",
    "CPU": "host.json",
    "MEM": "host.json",
    "NETWORK": "host.json",
    "DISK": "host.json",
    "condorqueue": "condor.json",
    "condorjob": "condor.json",
}


def item(kind: str, **fields: int) -> bytes:
    return encode_document(Document(kind, "UC-AF", NOW, fields))


@pytest.mark.parametrize(("kind", "name"), FILES.items())
def test_each_kind_has_its_file(kind: str, name: str, tmp_path: Path) -> None:
    assert open_sink(Settings(folder=str(tmp_path))).send([item(kind)]) == [Accepted()]
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_documents_are_appended_with_indentation_and_nothing_between(tmp_path: Path) -> None:
    sink = open_sink(Settings(folder=str(tmp_path), token="t"))
    for number in (1, 2):
        sink.send([item("CPU", load=number)])
    text = (tmp_path / "host.json").read_text()
    assert text.startswith('{\n    "token": "t",\n    "kind": "CPU",\n    "cluster": "UC-AF",\n    "load": 1\n}{\n')
    first, end = json.JSONDecoder().raw_decode(text)
    assert (first["load"], json.loads(text[end:])["load"]) == (1, 2)
    assert (tmp_path / "host.json").stat().st_mode & 0o077 == 0, "the token stands in it"


def test_a_folder_that_is_not_there_keeps_all(tmp_path: Path) -> None:
    outcomes = open_sink(Settings(folder=str(tmp_path / "none"))).send([item("CPU"), item("MEM")])
    assert [type(outcome) for outcome in outcomes] == [Keep, Keep]
