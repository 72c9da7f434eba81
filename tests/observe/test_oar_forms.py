"""Whatever OAR prints: no exception but the one that says it is no document, and every entry accounted for."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.contract import Refused
from jobmeter.model.record import Record
from jobmeter.observe.oar import database, oarstat_form
from jobmeter.observe.oar.job import COLUMNS, Job
from jobmeter.observe.oar.oarstat_form import NoDocument
from jobmeter.observe.oar.record import Shaper
from jobmeter.observe.oar.settings import Settings
from jobmeter.observe.oar.text import mended
from jobmeter.observe.shape.record import LeftOut
from jobmeter.observe.shape.rules import ComponentRule, KeyType, MetaRule
from tests.observe.oar_answers import NODES, job

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
jobs = st.dictionaries(st.sampled_from([*job(), "id"]), values).map(lambda changes: {**job(), **changes})
SHAPER = Shaper(
    Settings(
        meta=tuple(MetaRule(name, name, KeyType.STRING, key_allow_empty=True) for name in sorted(COLUMNS)),
        components=(ComponentRule("Cores", "cores"), ComponentRule("Walltime", "walltime", default_value=0)),
    )
)
RESOURCES = oarstat_form.parse_resources(json.dumps(NODES), "core")


def shape_all(entries: list[Job | Refused]) -> None:
    for entry in entries:
        assert isinstance(entry, Refused) or isinstance(SHAPER.shape(entry), Record | LeftOut | Refused)
        assert entry.raw


@given(st.text())
def test_any_text_is_read_or_said_to_be_no_document(text: str) -> None:
    with suppress(NoDocument):
        shape_all(list(oarstat_form.parse(text, {})))
    with suppress(NoDocument):
        oarstat_form.parse_resources(text, "core")
    shape_all(list(database.parse(text)))


@given(st.dictionaries(st.text(), values | jobs, max_size=3))
def test_every_entry_of_a_document_becomes_a_job_or_is_refused(document: dict[str, Any]) -> None:
    found = list(oarstat_form.parse(json.dumps(document), RESOURCES))
    assert len(found) == len(document)
    shape_all(found)


@given(st.lists(values | jobs, max_size=3))
def test_every_line_of_psql_becomes_a_job_or_is_refused(entries: list[Any]) -> None:
    found = list(database.parse("\n".join(json.dumps(entry) for entry in entries)))
    assert len(found) == len(entries)
    shape_all(found)


@given(st.dictionaries(st.text(), values, max_size=3))
def test_any_resources_are_read(document: dict[str, Any]) -> None:
    assert len(oarstat_form.parse_resources(json.dumps(document), "core")) <= len(document)


def test_an_empty_answer_is_no_job() -> None:
    assert list(oarstat_form.parse("\n", {})) == []


@given(st.text(alphabet=st.characters(min_codepoint=1, exclude_categories=["Cs"])))
def test_what_was_typed_in_utf_8_is_found_again_however_oarstat_prints_it(text: str) -> None:
    stored = text.encode().decode("latin-1")
    printed = [stored, stored.encode().decode("latin-1")]
    assert [mended(each) for each in printed] == [mended(text)] * 2


@pytest.mark.parametrize(
    ("printed", "typed"),
    [("Ã©", "é"), ("caf\xe9", "café"), ("æ\x97¥æ\x9c¬", "日本"), ("日本", "日本"), ("plain", "plain"), ("", "")],
)
def test_texts_are_mended(printed: str, typed: str) -> None:
    assert mended(printed) == typed
