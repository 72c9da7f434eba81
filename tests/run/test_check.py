from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run.program import Program

STRUCT = '''
from typing import Annotated, ClassVar
from msgspec import Meta, Struct
class Settings(Struct, frozen=True):
    """Settings of {name}."""
    environment_prefix: ClassVar[str] = "{name}".upper()
    {key}: Annotated[int, Meta(description="A number.", ge=0)] = 1
    shared: Annotated[str, Meta(description="A text.")] = "x"
def not_offered(settings):
    return ["the text must not be never"] if settings.shared == "never" else []
'''


@pytest.fixture
def checked(program: Program, tmp_path: Path) -> Program:
    """The program with one command and one job source that have settings."""
    package = program.folder / "jobmeter"
    (package / "observe" / "batch" / "probe_source.py").write_text(STRUCT.format(name="probe-source", key="rows"))
    (package / "model" / "probe_settings.py").write_text(STRUCT.format(name="probe", key="doors"))
    program.add("probe_command", "pass")
    file = package / "run" / "commands" / "probe_command.py"
    file.write_text('SETTINGS: str = "jobmeter.model.probe_settings:Settings"\n' + file.read_text())
    return program


def _file(tmp_path: Path, text: str) -> str:
    (tmp_path / "c.yaml").write_text(text)
    return str(tmp_path / "c.yaml")


@pytest.mark.parametrize(("key", "kind"), [("rows", "probe-source"), ("doors", "probe-command")])
def test_the_kind_is_guessed_from_the_keys(checked: Program, tmp_path: Path, key: str, kind: str) -> None:
    file = _file(tmp_path, f"{key}: 3\n")
    assert checked.run("check", file) == (0, f"{file}: fine, as settings of {kind}\n", "")


def test_every_fault_is_told_with_its_line(checked: Program, tmp_path: Path) -> None:
    file = _file(tmp_path, "rows: -1\nshared: [a]\nrow: 2\n")
    code, out, err = checked.run("check", file, "--for", "probe-source")
    assert (code, err) == (2, "")
    assert out.splitlines() == [
        f"{file}:1: rows: -1 is less than 0",
        f"{file}:2: shared: a list is not text",
        f"{file}:3: row: is not known; did you mean rows?",
        f"{file}: 3 faults, read as settings of probe-source",
    ]


def test_what_this_release_refuses_is_a_fault(checked: Program, tmp_path: Path) -> None:
    file = _file(tmp_path, "doors: 1\nshared: never\n")
    code, out, _ = checked.run("check", file)
    assert code == 2
    assert out.startswith(f"{file}: the text must not be never\n")


def test_keys_that_fit_several_kinds_ask_for_the_name(checked: Program, tmp_path: Path) -> None:
    file = _file(tmp_path, "unheard: 1\n")
    code, out, _ = checked.run("check", file)
    assert code == 2
    assert "say which with --for NAME" in out


def test_where_the_keys_fit_several_kinds_the_files_name_counts(checked: Program, tmp_path: Path) -> None:
    file = tmp_path / "probe-source.yml"
    file.write_text("unheard: 1\n")
    assert "as settings of probe-source" in checked.run("check", str(file))[1]


def test_an_unknown_name_is_told_with_those_there_are(checked: Program, tmp_path: Path) -> None:
    code, out, err = checked.run("check", _file(tmp_path, "rows: 1\n"), "--for", "nobody")
    assert (code, out) == (2, "")
    assert "probe-command, probe-source" in err


def test_the_verdict_can_be_json(checked: Program, tmp_path: Path) -> None:
    file = _file(tmp_path, "rows: x\n")
    code, out, _ = checked.run("check", "--json", "--for", "probe-source", file)
    assert code == 2
    assert json.loads(out) == {
        "file": file,
        "kind": "probe-source",
        "fine": False,
        "faults": [{"place": f"{file}:1", "key": "rows", "reason": '"x" is not a whole number', "mend": None}],
        "notes": [],
    }


def test_a_file_that_is_not_there_is_told(checked: Program, tmp_path: Path) -> None:
    code, out, _ = checked.run("check", str(tmp_path / "none.toml"))
    assert code == 2
    assert "there is no such file" in out


def test_samples_are_listed_and_printed_and_checked_as_fine(checked: Program, tmp_path: Path) -> None:
    code, out, _ = checked.run("sample-config")
    assert code == 0
    assert re.search(r"^probe-source +Settings of probe-source\.$", out, re.MULTILINE)
    for language, flags in (("toml", []), ("yaml", ["--yaml"])):
        code, out, err = checked.run("sample-config", "probe-source", *flags)
        assert (code, err) == (0, "")
        (tmp_path / f"sample.{language}").write_text(out)
        assert checked.run("check", "--for", "probe-source", str(tmp_path / f"sample.{language}"))[0] == 0
    assert checked.run("sample-config", "nobody")[0] == 2


def test_the_tables_of_a_nodes_sources_are_looked_into(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        'sample_period_seconds = 5\n[jobs]\nmanagers = ["slurm", "pbs"]\n[sources.ipmi]\ntimeout_seconds = -1\n'
        "[sources.ipmj]\n[sources.disk]\nperiod_seconds = 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "jobmeter", "check", str(file)], capture_output=True, text=True, check=False
    )
    told = done.stdout.replace(str(file), "F").splitlines()
    assert done.returncode == 2
    assert [line.split(": ")[0:2] for line in told[:-1]] == [
        ["F", "jobs.managers"],
        ["F:8", "sources.disk.period_seconds"],
        ["F:5", "sources.ipmi.timeout_seconds"],
        ["F:6", "sources.ipmj"],
    ]
    assert told[-1] == "F: 4 faults, read as settings of node"


def test_the_tables_of_a_gatherers_outputs_are_looked_into(tmp_path: Path) -> None:
    file = tmp_path / "gather.toml"
    file.write_text('flush_seconds = 2\n[outputs.text]\ncolour = "red"\n')
    done = subprocess.run(
        [sys.executable, "-m", "jobmeter", "check", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "outputs.text.colour" in done.stdout
