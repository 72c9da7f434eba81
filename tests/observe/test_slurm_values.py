from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.observe.shape import values as shape
from jobmeter.observe.shape.values import Unreadable
from jobmeter.observe.slurm import values
from jobmeter.observe.slurm.states import base_state, canonical_state


@pytest.mark.parametrize(("text", "expected"), [("0", 0), ("-5", -5), ("+7", 7), (str(2**63 - 1), 2**63 - 1)])
def test_integers_are_signs_and_digits(text: str, expected: int) -> None:
    assert shape.integer(text) == expected


@pytest.mark.parametrize("text", ["", " 1", "1 ", "5.0", "1K", "0x1", "1_0", "٣", str(2**63), "9" * 5000, "--1"])
def test_other_texts_are_no_integers(text: str) -> None:
    with pytest.raises(Unreadable):
        shape.integer(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4G", 4096), ("2000Mn", 2000), ("2000Mc", 2000), ("1024M", 1024), ("0", 0), ("100", 100), ("1.5G", 1536),
        ("2.5M", 2), ("512K", 0), ("1T", 1048576), ("0n", 0), ("8Gc", 8192), ("2048K", 2),
    ],
)  # fmt: skip
def test_integer_mega_is_in_mebibytes_whatever_the_suffix(text: str, expected: int) -> None:
    assert shape.mebibytes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("6582272", 6582272), ("5K", 5120), ("0.02M", 20971), ("1.5G", 1610612736), ("0", 0)]
)
def test_sizes_are_in_bytes(text: str, expected: int) -> None:
    assert shape.size_bytes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:00:00", 0), ("00:01.919", 1919), ("59:59.999", 3599999), ("01:02:03", 3723000), ("00:01.9", 1900),
        ("1-00:00:01", 86401000), ("123-23:59:59", 10713599000), ("00:00.0359", 35), ("10:00", 600000),
        ("100:00:00", 360000000),
    ],
)  # fmt: skip
def test_durations_are_exact_to_the_millisecond(text: str, expected: int) -> None:
    assert values.milliseconds(text) == expected


@pytest.mark.parametrize("text", ["", "UNLIMITED", "Partition_Limit", "1-00:01", "00:60:00", "1-24:00:00", "12", ":01"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(Unreadable):
        values.milliseconds(text)


@given(st.integers(0, 10**9), st.integers(0, 999_999))
def test_a_printed_duration_is_read_back_as_sacct_would_have_cut_it(seconds: int, micro: int) -> None:
    kept = micro // 1000 if seconds < 3600 else 0
    assert values.milliseconds(values.duration_text(seconds, micro)) == seconds * 1000 + kept


def test_moments_are_utc() -> None:
    assert values.moment("2026-10-25T02:30:00") == datetime(2026, 10, 25, 2, 30, tzinfo=UTC)
    assert values.moment_text(1795231859) == "2026-11-21T03:30:59"
    for text in ("Unknown", "2026-02-30T00:00:00", "2026-10-25 02:30:00", "2026-10-25T02:30:00+01:00"):
        with pytest.raises(Unreadable):
            values.moment(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("{}", {}),
        ('{"b": "2", "a": "1"}', {"a": "1", "b": "2"}),
        ("{ 'voms': '/atlas/Role=production', 'subject': '/some/thing' }",
         {"subject": "/some/thing", "voms": "/atlas/Role=production"}),
        ("\"{'a': 'b'}\"", {"a": "b"}),
        ("{'subject': 'O'Brien', 'b': 'it's'}", {"subject": "O'Brien", "b": "it's"}),
        (r"{'subject': 'O\'Brien'}", {"subject": "O'Brien"}),
        ("{'subject': \"O'Brien\", 'x': 'say \"hi\"'}", {"subject": "O'Brien", "x": 'say "hi"'}),
        ("{'a': 'b',}", {"a": "b"}),
        (r"{'a': '\u00e9'}", {"a": "é"}),
        ("{'a': 'x/y(z)'}", {"a": "x/y(z)"}),
    ],
)  # fmt: skip
def test_json_columns_are_read_with_either_quote(text: str, expected: dict[str, str]) -> None:
    found = shape.json_texts(text)
    assert found == expected
    assert list(found) == sorted(found)


@pytest.mark.parametrize("text", ["hello", "{'a': 1}", '{"a": {"b": "c"}}', "['a']", "{'a'", "{'a': 'b'} x", "{'a':'b"])
def test_other_comments_are_no_json_texts(text: str) -> None:
    with pytest.raises(Unreadable):
        shape.json_texts(text)


@given(st.text())
def test_no_text_does_worse_than_being_unreadable(text: str) -> None:
    readers = (
        shape.integer,
        shape.size_bytes,
        shape.mebibytes,
        values.milliseconds,
        values.moment,
        shape.json_texts,
    )
    for read in readers:
        with suppress(Unreadable):
            read(text)


@given(st.dictionaries(st.text(), st.text()))
def test_what_python_prints_of_a_dictionary_is_read_back(texts: dict[str, str]) -> None:
    printed = "{" + ", ".join(f"{_quoted(key)}: {_quoted(value)}" for key, value in texts.items()) + "}"
    assert shape._Loose(printed).object() == texts


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@pytest.mark.parametrize(
    ("name", "state"),
    [("completed", "COMPLETED"), ("cd", "COMPLETED"), ("OOM", "OUT_OF_MEMORY"), ("nf", "NODE_FAIL"),
     ("Pr", "PREEMPTED"), ("F", "FAILED"), ("ca", "CANCELLED"), ("to", "TIMEOUT"),
     ("out_of_memory", "OUT_OF_MEMORY"), ("R", "RUNNING")],
)  # fmt: skip
def test_states_have_names_and_abbreviations(name: str, state: str) -> None:
    assert canonical_state(name) == state


def test_other_words_are_no_states() -> None:
    assert canonical_state("done") is None
    assert base_state("CANCELLED by 5001") == "CANCELLED"
    assert base_state("") == ""
