from __future__ import annotations

import tomllib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.settings.toml_file import Lines
from tests.settings.conftest import Read, Told
from tests.settings.declarations import Database, Score

DOCUMENT = '''\
# first
name = "a # b"   # comment
text = """
two
lines \\""" """
raw = \'\'\'
x
\'\'\'
odd."quo ted".'lit' = 5

list = [ # here
  1,
  [2,
   3], {a = 1, b = {c = "]"}},
  # nothing
]
[table]
x = 1979-05-27T07:32:00Z
[table.inner]
y = '\\'
[[many]]
k = 1
[many.sub]
s = 1
[[many]]
k = 2
[[many.deep]]
d = 1
[[many.deep]]
d = 2
'''


def test_every_key_and_element_has_its_line() -> None:
    tomllib.loads(DOCUMENT)
    found = Lines(DOCUMENT).found
    assert {
        ("name",): 2,
        ("text",): 3,
        ("raw",): 6,
        ("odd", "quo ted", "lit"): 9,
        ("list",): 11,
        ("list", 0): 12,
        ("list", 1): 13,
        ("list", 1, 1): 14,
        ("list", 2): 14,
        ("list", 2, "b", "c"): 14,
        ("table",): 17,
        ("table", "x"): 18,
        ("table", "inner", "y"): 20,
        ("many", 0): 21,
        ("many", 0, "sub", "s"): 24,
        ("many", 1): 25,
        ("many", 1, "k"): 26,
        ("many", 1, "deep", 0, "d"): 28,
        ("many", 1, "deep", 1, "d"): 30,
    }.items() <= found.items()


@given(st.dictionaries(st.text("ab\"'# ]", min_size=1), st.lists(st.text("a\"'\\#]}\n, ")), min_size=1))
def test_lines_are_found_whatever_the_strings_hold(values: dict[str, list[str]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    text = "".join(f"{quoted(key)} = [{', '.join(map(quoted, items))}]\n\n" for key, items in values.items())
    assert tomllib.loads(text) == values
    found = Lines(text).found
    assert [found[key,] for key in values] == [2 * number + 1 for number in range(len(values))]
    assert all((key, len(items) - 1) in found for key, items in values.items() if items)


def test_values_keep_their_types(read: Read) -> None:
    settings = read(
        'count = 7\nratio = 0.25\non = true\nsince = 2024-01-31T12:00:00Z\neither = "7"\n'
        '[[scores]]\nname = "a"\n[[scores]]\nname = "b"\nvalue = 2\n[limits]\na = 1\n[database]\npassword = "p"\n',
        "s.toml",
    )
    assert (settings.count, settings.ratio, settings.on, settings.either) == (7, 0.25, True, "7")
    assert settings.since == datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert settings.scores == (Score(name="a"), Score(name="b", value=2.0))
    assert settings.limits == {"a": 1}
    assert settings.database == Database(password="p")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name = 123", "s.toml:1: name: 123 is not text; write it in quotes"),
        ("\nsince = 2024-01-31T12:00:00", "s.toml:2: since: 2024-01-31 12:00:00 has no time zone; add Z"),
        ("since = 2024-01-31", "s.toml:1: since: 2024-01-31 is not a date and time; write it like"),
        ("ratio = 1.0", "s.toml:1: ratio: 1.0 is not less than 1"),
        ("ratio = 0", "s.toml:1: ratio: 0 is not more than 0"),
        ("ratio = inf", "s.toml:1: ratio: inf is not a number"),
        (f"ratio = {10**400}", "s.toml:1: ratio: 1000"),
        ("step = 7", "s.toml:1: step: 7 is not a multiple of 5"),
        ('code = "A1"', 's.toml:1: code: "A1" does not match ^[a-z]+$'),
        ('code = "abcde"', "s.toml:1: code: is longer than 4 characters"),
        ('[[scores]]\nname = ""', "s.toml:2: scores[0].name: is empty"),
        ("[[scores]]\n\n[[scores]]\nvalue = -1", "s.toml:1: scores[0].name: is missing"),
        ("folder = ''", 's.toml:1: folder: "" is not a path'),
        ("loose = 3", "s.toml:1: loose: 3 is not a table of keys with values"),
        ("limits = 3", "s.toml:1: limits: 3 is not a table of keys with values"),
        ("[hosts]\na = 1", "s.toml:1: hosts: is a table, not a list"),
        ("on = 1", "s.toml:1: on: 1 is neither true nor false"),
        ("colour = true", "s.toml:1: colour: true is not one of red, blue"),
        ("[limits]\na = 1\nb = 'x'", 's.toml:3: limits.b: "x" is not a whole number'),
        ("name = 'a'\nname = 'b'", "s.toml:2: is not valid TOML: cannot overwrite a value"),
        ("name = ", "s.toml:1: is not valid TOML: "),
        ("\n\n[x", "s.toml:3: is not valid TOML: "),
        (f"a = {'[' * 5000}", "s.toml: is nested too deeply"),
    ],
)
def test_a_fault_is_told_with_place_key_and_mend(told: Told, text: str, fault: str) -> None:
    assert told(text, "s.toml")[0].startswith(fault)
