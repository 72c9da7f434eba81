"""Both forms of condor_history's output: any text in, no exception out but the two that are declared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.contract import Refused
from jobmeter.model.record import EPOCH, Record
from jobmeter.observe.htcondor import json_form, values_form
from jobmeter.observe.htcondor.job import ALWAYS, Job, folded
from jobmeter.observe.htcondor.json_form import Broken, NotLiteral
from jobmeter.observe.htcondor.record import LeftOut, Shaper
from jobmeter.observe.htcondor.settings import ComponentRule, Entry, OnlyIf, Score, Settings
from jobmeter.observe.htcondor.values_form import Frame, literal, new_frame

KEYS = ("GlobalJobId", "Owner", "CpusProvisioned", "a + b")
NONE: frozenset[str] = frozenset()
SETTINGS = Settings(
    state_db="none.db",
    record_prefix="htcondor",
    schedd_names=("s1",),
    meta={
        "site": (Entry(key="Site", matches=r"^(\w+)-(\d)?"), Entry(name="NONE")),
        "user": (Entry(key="Owner"), Entry(key="Owner", matches="a", name="has a")),
        "cond": (Entry(factor=3, only_if=OnlyIf("CpusProvisioned", "^1")),),
    },
    components=(
        ComponentRule(
            name="Cores",
            key="CpusProvisioned",
            scores=(Score("s", key="Owner", matches=r"(\S+)"), Score("t", factor=2, only_if=OnlyIf("Owner", "."))),
        ),
        ComponentRule(name="GPUs", key="GPUs", only_if=OnlyIf("GPUs", "[1-9]")),
    ),
)
SHAPER = Shaper(SETTINGS)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
attributes = st.sampled_from([*ALWAYS, "Owner", "CpusProvisioned", "GPUs"])
ads = st.dictionaries(attributes | st.text(), anything | st.just("s1#1.0#17"), max_size=16)


def pieces(text: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(text), size):
        yield text[at : at + size]


def jobs(text: str | bytes, size: int = 1 << 16) -> list[Job | Refused]:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return list(json_form.parse(pieces(raw, size), NONE))


@given(st.lists(ads, max_size=4), st.integers(1, 40), st.booleans())
def test_every_entry_is_found_however_the_output_is_cut(found: list[dict[str, Any]], size: int, plain: bool) -> None:
    text = "[\n" + "\n,\n".join(json.dumps(ad, indent=2, ensure_ascii=not plain) for ad in found) + "\n]\n"
    entries = jobs(text, size)
    assert len(entries) == len(found)
    assert all(isinstance(entry, Job) for entry in entries)
    assert [json.loads(entry.raw, strict=False) for entry in entries] == json.loads(json.dumps(found)) or not plain


@given(st.lists(ads, max_size=2))
def test_every_entry_becomes_a_record_or_is_left_out_or_refused(found: list[dict[str, Any]]) -> None:
    for entry in jobs(json.dumps(found)):
        assert isinstance(entry, Job)
        assert isinstance(SHAPER.shape(entry, EPOCH), Record | LeftOut | Refused)


@given(st.binary(max_size=300) | st.text(alphabet='[]{}",: \\\n1a').map(str.encode), st.integers(1, 9))
def test_any_output_is_read_or_is_said_to_be_broken(raw: bytes, size: int) -> None:
    try:
        entries = list(json_form.parse(pieces(raw, size), NONE))
    except Broken:
        return
    for entry in entries:
        assert isinstance(entry, Refused) or isinstance(SHAPER.shape(entry, EPOCH), Record | LeftOut | Refused)


def test_an_entry_that_is_no_json_spoils_no_other() -> None:
    first, odd, last = jobs('[\n{"ClusterId": 1}\n,\n{"ClusterId": nonsense, "a": "{"}\n,\n{"ClusterId": 3}\n]\n')
    assert isinstance(first, Job)
    assert isinstance(odd, Refused)
    assert isinstance(last, Job)
    assert "nonsense" in odd.raw
    assert last.get("clusterid") == 3


def test_what_stands_between_the_entries_is_refused_and_not_lost() -> None:
    said, entry = jobs('[\nwarning: something\n{"ClusterId": 1}\n]\n')
    assert isinstance(said, Refused)
    assert said.raw == "warning: something"
    assert isinstance(entry, Job)


@pytest.mark.parametrize("text", ["", "[", '[{"a": 1}', '[{"a": 1},', '[{"a": "x', '[{"a": {"b": 1}', "no list at all"])
def test_output_that_ends_too_soon_is_broken(text: str) -> None:
    with pytest.raises(Broken):
        jobs(text)


def test_bytes_that_are_no_text_are_replaced_in_the_value_alone() -> None:
    [entry] = jobs(b'[{"Owner": "caf\xe9 \xff", "ClusterId": 1}]', 1)
    assert isinstance(entry, Job)
    assert entry.get("Owner") == "caf\ufffd \ufffd"


def test_numbers_that_are_none_are_absent() -> None:
    [entry] = jobs('[{"A": NaN, "B": 1e999, "C": null, "D": "/Expr(real(\\"INF\\"))/"}]')
    assert isinstance(entry, Job)
    assert entry.values == {}


@pytest.mark.parametrize("value", ['"\\/Expr(1 + 2)\\/"', "[1, 2]", '{"a": 1}'])
def test_an_attribute_that_is_needed_must_be_literal(value: str) -> None:
    text = f'[{{"Memory": {value}, "Other": "x"}}]'.encode()
    assert [entry.values for entry in json_form.parse([text], NONE) if isinstance(entry, Job)] == [{"other": "x"}]
    with pytest.raises(NotLiteral, match="Memory"):
        list(json_form.parse([text], frozenset({"memory"})))


def printed(rows: list[list[str]], frame: Frame) -> bytes:
    lines = (f"{frame.entry} " + f" {frame.value} ".join(row) + "\n" for row in rows)
    return "".join(lines).encode("utf-8", "surrogatepass")


texts = st.text(st.characters(codec="utf-8"))


@given(st.lists(st.tuples(texts, texts, st.integers(-(2**63), 2**63), st.booleans()), max_size=4), st.integers(1, 50))
def test_evaluated_values_come_back_whatever_stands_in_texts(rows: list[tuple[str, str, int, bool]], size: int) -> None:
    frame = new_frame()
    quoted = [
        ['"' + a.replace('"', '\\"') + '"', '"' + b.replace('"', '\\"') + '"', str(c), str(d).lower()]
        for a, b, c, d in rows
    ]
    entries = list(values_form.parse(pieces(printed(quoted, frame), size), KEYS, frame))
    expected = [{folded(key): value for key, value in zip(KEYS, row, strict=True)} for row in rows]
    # HTCondor writes a backslash before a quote as it writes an escaped quote; such a text comes back without it.
    plain = [entry for row, entry in zip(rows, expected, strict=True) if not any('\\"' in text for text in row[:2])]
    found = [entry.values for entry in entries if isinstance(entry, Job)]
    assert len(found) == len(rows)
    assert [entry for row, entry in zip(rows, found, strict=True) if not any('\\"' in t for t in row[:2])] == plain


@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_evaluated_output_is_read(raw: bytes, size: int) -> None:
    frame = Frame('"e"', '"v"')
    for entry in values_form.parse(pieces(b'"e" ' + raw, size), KEYS, frame):
        assert isinstance(entry, Refused) or isinstance(SHAPER.shape(entry, EPOCH), Record | LeftOut | Refused)


def test_a_value_too_many_or_too_few_is_refused() -> None:
    frame = new_frame()
    raw = printed([['"s1#1.0#1"', '"a"', "1"], ['"s1#2.0#1"', '"a"', "1", "2"]], frame)
    short, whole = values_form.parse([raw], KEYS, frame)
    assert isinstance(short, Refused)
    assert short.reason == "the entry has 3 values instead of 4"
    assert isinstance(whole, Job)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("undefined", None), ("error", None), ('real("INF")', None), ('real("NaN")', None), ("1E999", None),
        ("true", True), ("false", False), ("17", 17), ("-3", -3), ("1.5E+300", 1.5e300), ("27.0", 27.0),
        ('""', ""), ('"a\\"b"', 'a"b'), ('"ends in \\"', "ends in \\"), ("{ 1,2 }", "{ 1,2 }"), ('"007"', "007"),
        ("9" * 50, float("9" * 50)),
    ],
)  # fmt: skip
def test_a_printed_value_is_read_by_its_kind(text: str, value: object) -> None:
    assert literal(text) == value
    assert type(literal(text)) is type(value)


def test_a_frame_is_another_each_time() -> None:
    assert new_frame() != new_frame()
