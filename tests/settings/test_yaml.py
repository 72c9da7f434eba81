from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.settings.conftest import Read, Told
from tests.settings.declarations import Colour, File, Mail, Score


@pytest.mark.parametrize("written", ["0123", "1_000", "on", "true", "1.50", "1:30", "2024-01-31", "0x1f", "'0123'"])
def test_text_stays_as_it_was_written(read: Read, written: str) -> None:
    assert read(f"name: {written}").name == written.strip("'")


@pytest.mark.parametrize("written", ["8000", "'8000'", '"8000"', "08000", "+8000"])
def test_a_whole_number_may_be_quoted_and_is_decimal(read: Read, written: str) -> None:
    assert read(f"count: {written}").count == 8000


@pytest.mark.parametrize("written", ["1.5", "true", "ten", "0x1f", "1_000", "1:30", "", "[1]", "{a: 1}", "٣"])
def test_what_is_no_whole_number_is_a_fault(told: Told, written: str) -> None:
    (fault,) = told(f"count: {written}", "s.yaml")
    assert fault.startswith("s.yaml:1: count: ")
    assert fault.endswith("is not a whole number")


@pytest.mark.parametrize(("written", "value"), [("true", True), ("YES", True), ("off", False), ("'false'", False)])
def test_truth_has_several_words(read: Read, written: str, value: bool) -> None:
    assert read(f"on: {written}").on is value


def test_numbers_may_be_whole_or_in_exponents(read: Read) -> None:
    assert read("ratio: 5e-1").ratio == 0.5
    assert read("scores: [{name: a, value: 3}]").scores == (Score(name="a", value=3.0),)


@pytest.mark.parametrize("written", [".inf", ".nan", "1e999", "-1e999"])
def test_a_number_is_finite(told: Told, written: str) -> None:
    assert told(f"ratio: {written}", "s.yaml")[0].endswith("is not a number")


def test_a_moment_has_a_zone(read: Read, told: Told) -> None:
    assert read("since: 2024-01-31T12:00:00+01:00").since == datetime(2024, 1, 31, 11, tzinfo=UTC)
    assert told("since: 2024-01-31T12:00:00", "s.yaml") == [
        's.yaml:1: since: "2024-01-31T12:00:00" has no time zone; add Z for UTC, or an offset such as +01:00'
    ]
    assert "is not a date and time" in told("since: yesterday", "s.yaml")[0]


def test_choices_ignore_case_only_where_asked(read: Read, told: Told) -> None:
    assert read("level: DEBUG").level == "debug"
    assert read("colour: blue").colour is Colour.BLUE
    assert told("colour: BLUE", "s.yaml") == ['s.yaml:1: colour: "BLUE" is not one of red, blue']


def test_one_value_stands_for_a_list_only_where_asked(read: Read, told: Told) -> None:
    assert read("hosts: 127.0.0.1").hosts == ("127.0.0.1",)
    assert told("strict: 3", "s.yaml") == ["s.yaml:1: strict: 3 is not a list; write [3]"]


def test_nothing_is_the_default_table_the_empty_list_or_none(read: Read) -> None:
    settings = read("loose:\nhosts:\ndatabase:\neither: ~\nlimits: null")
    assert (settings.loose.name, settings.hosts, settings.database, settings.either) == ("x", (), None, None)
    assert settings.limits == {}


def test_of_several_types_the_one_written_is_taken(read: Read, told: Told) -> None:
    assert read("either: 5").either == 5
    assert read("either: '5'").either == "5"
    assert told("either: [5]", "s.yaml") == ["s.yaml:1: either: a list is not a whole number or text"]


def test_a_shape_is_chosen_by_its_tag(read: Read, told: Told) -> None:
    assert read("where: {to: mail, address: a@b}").where == Mail("a@b")
    assert isinstance(read("where: !file {path: /x}").where, File)
    assert told("where: {to: moon}", "s.yaml") == ["s.yaml:1: where.to: must be one of file, mail"]
    assert told("where: !moon {}", "s.yaml") == ["s.yaml:1: where: the tag !moon is not known; there are: !file, !mail"]


def test_a_type_mark_that_nobody_declares_is_a_fault(told: Told) -> None:
    assert told("name: !!python/name:os.system x", "s.yaml") == [
        "s.yaml:1: name: the type !python/name:os.system is not known here"
    ]
    assert told("name: !secret x", "s.yaml") == ["s.yaml:1: name: the type !secret is not known here"]
    assert told("loose: !moon {}", "s.yaml") == ["s.yaml:1: loose: the type !moon is not known here"]
    assert told("hosts: !moon [a]", "s.yaml") == ["s.yaml:1: hosts: the type !moon is not known here"]


def test_a_key_that_stands_twice_is_a_fault_with_both_lines(told: Told) -> None:
    assert told("name: a\ncount: 1\nname: b\nloose:\n  name: a\n  name: b\n", "s.yaml") == [
        "s.yaml:3: name: stands twice, first in line 1",
        "s.yaml:6: loose.name: stands twice, first in line 5",
    ]


def test_a_key_is_plain_text(told: Told) -> None:
    assert told("? [a]\n: 1", "s.yaml") == ["s.yaml:1: has a key that is not plain text"]


def test_an_alias_repeats_a_value(read: Read) -> None:
    assert read("hosts: &h [a, b]\nstrict: []\nname: c\nscores: []").hosts == ("a", "b")
    assert read("name: &n x\ncode: *n").code == "x"


def test_aliases_that_multiply_are_refused(told: Told) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (fault,) = told("\n".join(lines), "s.yaml")
    assert fault.endswith("holds more than 100000 values, counting what aliases repeat")


def test_an_alias_within_itself_is_refused(told: Told) -> None:
    assert "within what it names" in told("hosts: &a [*a]", "s.yaml")[0]


@pytest.mark.parametrize(
    "text", ["a: [1", "a: b: c", "\tb: 1", "a: 'x", "- a\nb: 1", "a: 1\n--- \nb: 2", "*x", "{" * 3000]
)
def test_bad_syntax_is_told_with_its_line(told: Told, text: str) -> None:
    (fault,) = told(text, "s.yaml")
    assert fault.startswith("s.yaml:")
    assert "YAML" in fault or "nested too deeply" in fault


def test_a_character_that_yaml_forbids_is_told_with_its_line(told: Told) -> None:
    assert told("name: a\ncode: \x01", "s.yaml") == ["s.yaml:2: holds the character U+0001"]
