from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobmeter.settings.fault import SettingsFaulty
from jobmeter.settings.load import load
from tests.settings.conftest import Read, Told
from tests.settings.declarations import Everything, Loose, Span


def _fault(file: Path) -> str:
    with pytest.raises(SettingsFaulty) as caught:
        load(Everything, file=file, environment={}, prefix=None)
    (fault,) = caught.value.faults
    return str(fault).removeprefix(str(file))


def test_without_a_file_the_defaults_count() -> None:
    assert load(Everything, file=None, environment={}, prefix=None).settings == Everything()


def test_all_faults_are_told_at_once_in_the_order_of_the_file(told: Told) -> None:
    assert told("count: x\nnmae: a\ndatabase:\n  port: 0\n  hots: b\nratio: 2\n", "s.yaml") == [
        's.yaml:1: count: "x" is not a whole number',
        "s.yaml:2: nmae: is not known; did you mean name?",
        "s.yaml:4: database.port: 0 is less than 1",
        "s.yaml:4: database.password: is missing; expected: Its password.",
        "s.yaml:5: database.hots: is not known; did you mean host?",
        "s.yaml:6: ratio: 2 is not less than 1",
    ]


def test_an_unknown_key_far_from_any_is_told_with_those_there_are(told: Told) -> None:
    assert told("database: {password: a, zzz: 1}", "s.yaml") == [
        "s.yaml:1: database.zzz: is not known; known here: host, port, password"
    ]


def test_a_secret_stands_in_no_message(told: Told) -> None:
    faults = told("[database]\npassword = 4711\n", "s.toml") + told("database: {password: [hunter2]}", "s.yaml")
    assert faults == [
        "s.toml:2: database.password: the value (a secret, not shown) is not text; write it in quotes",
        "s.yaml:1: database.password: the value (a secret, not shown) is not text",
    ]


def test_a_struct_may_take_unknown_keys_as_notes(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: y\nnmae: z\n")
    loaded = load(Loose, file=tmp_path / "s.yaml", environment={}, prefix=None)
    assert loaded.settings == Loose("y")
    (note,) = loaded.notes
    assert note.endswith("s.yaml:2: nmae: is not known and has no effect; did you mean name?")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("low: 5\nhigh: 3\n", ":2: high: is below low; swap them"),
        ("low: 20\n", ":1: high: is below low; swap them"),
        ("\n\nlow: 13\nhigh: 14", ":3: thirteen is refused"),
    ],
)
def test_keys_that_do_not_fit_one_another_are_a_fault(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SettingsFaulty, match=fault):
        load(Span, file=tmp_path / "s.yaml", environment={}, prefix=None)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert _fault(tmp_path / "none.toml") == ": there is no such file"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert _fault(tmp_path) == ": is a directory, not a file"


def test_a_file_below_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert _fault(tmp_path / "a" / "b.toml") == ": cannot be read: Not a directory"


@contextmanager
def without_privilege() -> Iterator[None]:
    """Within, root is nobody: root may read everything."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_a_file_without_permission_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("count = 1")
    (tmp_path / "s.toml").chmod(0)
    with without_privilege():
        assert _fault(tmp_path / "s.toml") == ": cannot be read: Permission denied"


@pytest.mark.parametrize("name", ["s.toml", "s.yaml"])
def test_an_empty_file_is_a_fault_and_one_of_comments_is_all_defaults(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(" \n\n")
    assert _fault(tmp_path / name) == ": is empty"
    (tmp_path / name).write_text("# nothing set\n")
    assert load(Everything, file=tmp_path / name, environment={}, prefix=None).settings == Everything()


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_bytes(b"# fine\nname = '\xff'\n")
    assert _fault(tmp_path / "s.toml") == ":2: is not UTF-8 text (byte 15)"


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    for name, text in (("s.toml", "count = 2\r\nstep = 6\r\n"), ("s.yaml", "count: 2\r\nstep: 6\r\n")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert _fault(tmp_path / name) == ":2: step: 6 is not a multiple of 5"


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"#" * (2**20 + 1))
    assert _fault(tmp_path / "s.yaml") == ": is larger than 1048576 bytes"


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text", "5"])
def test_a_file_is_a_table(told: Told, text: str) -> None:
    assert told(text, "s.yaml") == ["s.yaml: is not a table of keys with values"]


def test_variables_override_the_file_and_match_in_any_case(read: Read) -> None:
    settings = read(
        "count: 1\ndatabase: {password: a, port: 1}\n",
        environment={"P_COUNT": "2", "P_DATABASE__PORT": "3", "P_Database__Host": "h", "COUNT": "9"},
    )
    assert settings.count == 2
    assert settings.database is not None
    assert (settings.database.host, settings.database.port, settings.database.password) == ("h", 3, "a")


def test_variables_are_text_until_their_type_is_known(read: Read) -> None:
    environment = {
        "P_DATABASE__PASSWORD": "0123",
        "P_EITHER": "0123",
        "P_ON": "true",
        "P_HOSTS": "a, b",
        "P_STRICT": "",
    }
    settings = read("strict: [1]", environment=environment)
    assert settings.database is not None
    assert (settings.database.password, settings.either, settings.on) == ("0123", "0123", True)
    assert (settings.hosts, settings.strict) == (("a", "b"), [])


def test_an_empty_variable_is_none_where_none_is_allowed(read: Read) -> None:
    assert read("since: 2024-01-31T12:00:00Z", environment={"P_SINCE": ""}).since is None
    assert read("name: a", environment={"P_NAME": ""}).name == ""


def test_a_table_of_any_keys_takes_variables_too(read: Read) -> None:
    assert read("limits: {a: 1}", environment={"P_LIMITS__b": "2"}).limits == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "name", ["P_SERVICE_HOST", "P_PORT", "P_DATABASE", "P_COUNT__X", "P_DATABASE__NOPE", "P_LIMITS"]
)
def test_a_variable_that_names_no_setting_is_a_note(name: str) -> None:
    loaded = load(Everything, file=None, environment={name: "hunter2"}, prefix="P_")
    assert loaded.settings == Everything()
    assert loaded.notes == (f"environment variable {name}: no setting has this name, it has no effect",)


def test_a_fault_of_a_variable_names_it() -> None:
    environment = {"P_COUNT": "x", "P_DATABASE__PORT": "0", "P_DATABASE__PASSWORD": "p", "P_STRICT": "1,x"}
    with pytest.raises(SettingsFaulty) as caught:
        load(Everything, file=None, environment=environment, prefix="P")
    assert sorted(map(str, caught.value.faults)) == [
        'environment variable P_COUNT: count: "x" is not a whole number',
        'environment variable P_DATABASE__PORT: database.port: "0" is less than 1',
        'environment variable P_STRICT: strict[1]: "x" is not a whole number',
    ]


def test_without_a_prefix_the_environment_does_not_count() -> None:
    assert load(Everything, file=None, environment={"P_COUNT": "2"}, prefix=None).settings.count == 1
