from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.contract import Refused
from jobmeter.observe.slurm import json_form, text_form
from jobmeter.observe.slurm.job import gather
from jobmeter.observe.slurm.json_form import NoDocument
from jobmeter.observe.slurm.row import Row

CASES = Path(__file__).parents[1] / "cases" / "slurm"
COLUMNS = ("JobIDRaw", "Comment", "JobID", "End", "State")
MARK = "<0123456789abcdef>"

ELSEWHERE = {"account", "cluster", "eligible", "reqcpus"}
"""Columns that the table repeats on the rows of steps; a job takes them from its own row."""

# Recorded with its folder renamed in the table only, and with words that JSON does not have ("CANCELLED by 0").
NOT_COMPARED = {"workdir", "state"}


def table(*rows: tuple[str, ...]) -> str:
    return "".join(MARK.join(row) + "\n" for row in rows)


def test_comments_with_anything_in_them_shift_nothing() -> None:
    hostile = "a|b\n1|2|COMPLETED\n\n'\"\\ \x01 é <0123456789abcde>"
    rows = list(
        text_form.parse(
            table(("1", hostile, "1", "", "COMPLETED"), ("1.batch", "", "1.batch", "", "COMPLETED")), COLUMNS, MARK
        )
    )
    assert [row.values for row in rows if isinstance(row, Row)] == [
        {"jobidraw": "1", "comment": hostile, "jobid": "1", "end": "", "state": "COMPLETED"},
        {"jobidraw": "1.batch", "comment": "", "jobid": "1.batch", "end": "", "state": "COMPLETED"},
    ]


def test_output_that_breaks_off_loses_only_its_last_line() -> None:
    text = table(("1", "", "1", "", "COMPLETED"), ("2", "", "2", "", "COMPLETED"))
    entries = list(text_form.parse(text[: -len("COMPLETED\n") - 3 - len(MARK)], COLUMNS, MARK))
    assert isinstance(entries[0], Row)
    assert isinstance(entries[1], Refused)
    assert len(entries) == 2


def test_an_odd_id_is_refused_and_the_rest_goes_on() -> None:
    entries = list(text_form.parse(table(("x", "", "x", "", "F"), ("2", "", "2", "", "F")), COLUMNS, MARK))
    assert [type(entry) for entry in entries] == [Refused, Row]


def test_no_output_is_no_rows() -> None:
    assert list(text_form.parse("", COLUMNS, MARK)) == []


def test_every_delimiter_is_another() -> None:
    assert text_form.new_delimiter() != text_form.new_delimiter()


@given(st.lists(st.lists(st.sampled_from(["1", "1.0", "", "x", "\n", "|", MARK, "COMPLETED", "é"]), max_size=8)))
def test_any_table_gives_rows_or_refusals(rows: list[list[str]]) -> None:
    jobs, refused = gather(text_form.parse("\n".join(MARK.join(row) for row in rows), COLUMNS, MARK))
    assert all(isinstance(entry, Refused) for entry in refused)
    assert all(job.row.is_sound for job in jobs)


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["set", "number", "infinite", "id", "count", "type", "current"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
_JOB_KEYS = ["job_id", "time", "state", "steps", "array", "het", "tres", "comment", "user", "reservation", "required"]


@given(st.lists(st.dictionaries(st.sampled_from(_JOB_KEYS), _JSON, max_size=8) | _JSON, max_size=4))
def test_any_json_gives_rows_or_refusals(jobs: list[Any]) -> None:
    columns = list(json_form._OF_JOBS)
    entries = list(json_form.parse(json.dumps({"jobs": jobs}), columns))
    found = sum(isinstance(entry, Refused) or entry.step is None for entry in entries)
    assert found == len(jobs)


@given(st.text())
def test_any_other_output_is_no_document(text: str) -> None:
    with pytest.raises(NoDocument):
        list(json_form.parse(text, COLUMNS))


def recorded(case: str) -> list[dict[str, str]]:
    lines = (CASES / case / "sacct.txt").read_text().split("\n")
    mark = "\x1f" if "\x1f" in lines[0] else "|"
    names = [name.lower() for name in lines[0].split(mark)]
    fields = [line.replace("\u2424", "\n").split(mark) for line in lines[1:] if line]
    return [dict(zip(names, each, strict=True)) for each in fields]


def by_run(values: dict[str, str]) -> tuple[str, str]:
    return values["jobid"], values["submit"]


@pytest.mark.parametrize("case", ["22.05-cgroupv1", "22.05-hostile-comments", "24.11-cgroupv1", "24.11-cgroupv2"])
def test_every_column_of_the_catalogue_has_the_text_of_the_table(case: str) -> None:
    columns = list(json_form._OF_JOBS)
    document = json_form.parse((CASES / case / "sacct.json").read_text(), columns)
    from_json = sorted((dict(row.values) for row in document if isinstance(row, Row)), key=by_run)
    from_table = sorted(recorded(case), key=by_run)
    assert [row["jobid"] for row in from_json] == [row["jobid"] for row in from_table]
    compared = 0
    for ours, theirs in zip(from_json, from_table, strict=True):
        if theirs["end"] == "Unknown" or theirs["start"] == "None":
            continue  # still running, or never started: no record comes of it
        for name in columns:
            if name in NOT_COMPARED or ("." in theirs["jobid"] and name in ELSEWHERE):
                continue
            assert ours[name] == theirs[name], (theirs["jobid"], name)
            compared += 1
    assert compared > 500


def test_columns_that_json_does_not_give_are_named() -> None:
    assert json_form.underivable(["JobID", "ncpus", "ExitCode", "MaxRSSNode"]) == ("ExitCode", "MaxRSSNode")
