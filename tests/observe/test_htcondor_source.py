from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobmeter.contract import JobBatch, JobSource, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.observe.batch.htcondor import open_source
from jobmeter.observe.host import Host
from jobmeter.observe.htcondor.settings import ComponentRule
from tests.observe.htcondor_history import ENDED, ad, calls, command, record_ids, settings, source, write_history
from tests.observe.slurm_tables import SetClock

DAY = 86_400


def places(batches: list[JobBatch]) -> dict[str, list[str]]:
    """The jobs that name the place in each history, from the last cursor."""
    cursor = next(batch.cursor for batch in reversed(batches) if batch.cursor)
    return {name: place.get("newest", []) for name, place in json.loads(cursor)["places"].items()}


def last(batches: list[JobBatch]) -> str:
    return next(batch.cursor for batch in reversed(batches) if batch.cursor)


def jobs(*clusters: int, **changes: Any) -> list[dict[str, Any]]:
    """Jobs, the newest first."""
    return [ad(cluster, **changes) for cluster in clusters]


def ids(*clusters: int) -> list[str]:
    return [f"htcondor-{ad(cluster)['GlobalJobId']}" for cluster in clusters]


def test_the_source_keeps_the_contract(tmp_path: Path) -> None:
    config = settings(write_history(tmp_path, []))
    assert isinstance(open_source(config, Host(Path("/"), SetClock(), {})), JobSource)


def test_only_what_stands_after_the_place_is_read_and_the_place_is_named_by_several_jobs(tmp_path: Path) -> None:
    config = settings(write_history(tmp_path, jobs(6, 5, 4, 3, 2, 1)))
    first = list(source(config).read(None))
    assert record_ids(first) == ids(6, 5, 4, 3, 2, 1)
    assert places(first) == {"s1": [ad(cluster)["GlobalJobId"] for cluster in (6, 5, 4, 3)]}
    write_history(tmp_path, jobs(8, 7, 6, 5, 4, 3, 2, 1))
    second = list(source(config).read(last(first)))
    assert record_ids(second) == ids(8, 7)
    assert places(second) == {"s1": [ad(cluster)["GlobalJobId"] for cluster in (8, 7, 6, 5)]}
    argv = calls(tmp_path)[-1]
    assert argv[argv.index("-since") + 1] == f'GlobalJobId == "{ad(3)["GlobalJobId"]}"'


def test_reading_again_without_news_changes_nothing(tmp_path: Path) -> None:
    config = settings(write_history(tmp_path, jobs(2, 1)))
    first = list(source(config).read(None))
    second = list(source(config).read(last(first)))
    assert (record_ids(second), last(second)) == ([], last(first))


def test_a_job_that_left_the_queue_long_after_it_completed_is_not_missed(tmp_path: Path) -> None:
    late = ad(2, CompletionDate=ENDED - 3000, EnteredCurrentStatus=ENDED - 3000, LastMatchTime=ENDED - 4000)
    config = settings(write_history(tmp_path, jobs(5, 4, 3)))
    cursor = last(list(source(config).read(None)))
    write_history(tmp_path, [ad(6), late, *jobs(5, 4, 3)])
    assert record_ids(source(config).read(cursor)) == ids(6, 2)


def test_a_job_that_the_schedd_wrote_twice_hides_none_between(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = settings(write_history(tmp_path, jobs(4, 3, 2, 1)))
    cursor = last(list(source(config).read(None)))
    write_history(tmp_path, jobs(6, 1, 5, 4, 3, 2, 1))
    found = list(source(config).read(cursor))
    assert set(record_ids(found)) == set(ids(6, 5))
    assert "htcondor.place_not_found" in caplog.text
    assert "htcondor.jobs_may_be_missing" not in caplog.text


def test_a_history_that_was_rotated_away_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = settings(write_history(tmp_path, jobs(4, 3, 2, 1)))
    cursor = last(list(source(config).read(None)))
    write_history(tmp_path, jobs(9, 8))
    assert set(record_ids(source(config).read(cursor))) == set(ids(9, 8))
    assert "htcondor.jobs_may_be_missing" in caplog.text


def test_job_numbers_that_begin_anew_are_other_jobs(tmp_path: Path) -> None:
    config = settings(write_history(tmp_path, jobs(2, 1)))
    cursor = last(list(source(config).read(None)))
    again = ad(1, GlobalJobId=f"s1#1.0#{ENDED - 5}")
    write_history(tmp_path, [again, *jobs(2, 1)])
    assert record_ids(source(config).read(cursor)) == [f"htcondor-s1#1.0#{ENDED - 5}"]


def test_reading_that_breaks_off_moves_nothing_and_the_next_time_brings_the_rest(tmp_path: Path) -> None:
    program = write_history(tmp_path, jobs(5, 4, 3, 2, 1))
    (tmp_path / "fault.txt").write_text("Failed to receive remote ad.")
    config = settings(program, batch_records=2)
    batches: list[JobBatch] = []
    reading = source(config).read(None)
    with pytest.raises(SourceUnreadable, match="Failed to receive"):
        while True:
            batches.append(next(reading))
    assert record_ids(batches) == ids(5, 4, 3, 2, 1)
    assert places(batches) == {"s1": []}
    (tmp_path / "fault.txt").unlink()
    assert record_ids(source(config).read(last(batches))) == ids(5, 4, 3, 2, 1)


def test_output_that_ends_in_the_middle_is_no_whole_history(tmp_path: Path) -> None:
    program = write_history(tmp_path, [])
    (tmp_path / "history.json").write_text("[\n" + json.dumps(ad(1), indent=2) + "\n,\n" + '{"ClusterId": 2')
    with pytest.raises(SourceUnreadable, match="in the middle of its list"):
        list(source(settings(program)).read(None))


def test_the_beginning_stays_where_it_was_when_the_first_reading_fails(tmp_path: Path) -> None:
    clock = SetClock()
    program = write_history(tmp_path, jobs(1))
    (tmp_path / "fault.txt").write_text("away")
    reading = source(settings(program), clock).read(None)
    begun = next(reading).cursor
    with pytest.raises(SourceUnreadable):
        list(reading)
    (tmp_path / "fault.txt").unlink()
    clock.advance(days=1)
    assert record_ids(source(settings(program), clock).read(begun)) == ids(1)


def test_a_schedd_that_is_away_keeps_nobody_from_the_others(tmp_path: Path) -> None:
    for name in ("s1", "s2", "s3"):
        write_history(tmp_path, [ad(1, GlobalJobId=f"{name}#1.0#{ENDED}")], name)
    (tmp_path / "s2.fault.txt").write_text("Unable to locate remote schedd")
    write_history(tmp_path, [], "s2")
    config = settings(command(tmp_path), schedd_names=("s1", "s2", "s3"))
    batches: list[JobBatch] = []
    reading = source(config).read(None)
    with pytest.raises(SourceUnreadable, match=r"the history of s2: .*Unable to locate"):
        while True:
            batches.append(next(reading))
    assert record_ids(batches) == [f"htcondor-s1#1.0#{ENDED}", f"htcondor-s3#1.0#{ENDED}"]
    assert {name: len(newest) for name, newest in places(batches).items()} == {"s1": 1, "s2": 0, "s3": 1}


def test_jobs_that_ended_before_the_beginning_are_left_out_and_counted(tmp_path: Path) -> None:
    old = ad(1, CompletionDate=ENDED - DAY, EnteredCurrentStatus=ENDED - DAY, LastMatchTime=ENDED - DAY - 5)
    program = write_history(tmp_path, [ad(2), old])
    found = list(source(settings(program)).read(None))
    assert (record_ids(found), found[-1].ignored) == (ids(2), {"ended before the beginning": 1})
    early = datetime.fromtimestamp(ENDED - DAY, UTC)
    assert record_ids(source(settings(program, earliest_datetime=early)).read(None)) == ids(2, 1)
    naive = early.replace(tzinfo=None) + timedelta(seconds=1)
    assert record_ids(source(settings(program, earliest_datetime=naive)).read(None)) == ids(2)


def test_a_period_is_read_again_without_moving_the_place(tmp_path: Path) -> None:
    early = {"CompletionDate": ENDED - 600, "EnteredCurrentStatus": ENDED - 600, "LastMatchTime": ENDED - 700}
    config = settings(write_history(tmp_path, [ad(3), ad(2, **early), ad(1)]))
    end = datetime.fromtimestamp(ENDED, UTC)
    before = Period(end - timedelta(hours=1), end)
    found = list(source(config).read("kept", before))
    assert (record_ids(found), {batch.cursor for batch in found}) == (ids(2), {"kept"})
    argv = calls(tmp_path)[-1]
    assert f"EnteredCurrentStatus >= {ENDED - 3600}" in argv[argv.index("-constraint") + 1]
    assert "-since" not in argv


def test_a_history_comes_in_batches_of_which_only_the_last_moves_the_place(tmp_path: Path) -> None:
    config = settings(write_history(tmp_path, jobs(5, 4, 3, 2, 1)), batch_records=2)
    first, *found = list(source(config).read(None))
    assert [len(batch.records) for batch in found] == [2, 2, 1]
    assert [bool(batch.cursor) for batch in (first, *found)] == [True, False, False, True]


def test_the_state_of_auditors_collector_is_taken_over(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    with closing(sqlite3.connect(state)) as db, db:
        db.execute(
            "CREATE TABLE last_jobs (schedd TEXT, prefix TEXT, cluster INT, proc INT, PRIMARY KEY(schedd, prefix))"
        )
        db.execute("INSERT INTO last_jobs VALUES ('s1', 'htcondor', 3, 0), ('s1', 'other', 5, 0)")
    before = state.read_bytes()
    old = {"CompletionDate": ENDED - DAY, "EnteredCurrentStatus": ENDED - DAY, "LastMatchTime": ENDED - DAY - 5}
    program = write_history(tmp_path, [ad(5), ad(4, **old), *jobs(3, 2, 1)])
    config = settings(program, state_db=str(state))
    found = list(source(config).read(None))
    assert record_ids(found) == ids(5, 4)
    argv = calls(tmp_path)[-1]
    assert argv[argv.index("-since") + 1] == "ClusterId == 3 && ProcId == 0"
    assert state.read_bytes() == before
    assert record_ids(source(config).read(last(found))) == []


def test_a_state_file_that_is_none_stops_the_reading(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("this is no database, but a text of some length" * 20)
    config = settings(write_history(tmp_path, []), state_db=str(tmp_path / "state.db"))
    with pytest.raises(SourceUnreadable, match="AUDITOR's state"):
        list(source(config).read(None))


def test_reading_can_begin_after_a_job_that_is_named_whatever_was_read_before(tmp_path: Path) -> None:
    program = write_history(tmp_path, jobs(5, 4, 3, 2, 1))
    cursor = last(list(source(settings(program)).read(None)))
    named = source(settings(program, since_job="2.0"))
    found = list(named.read(cursor))
    assert record_ids(found) == ids(5, 4, 3)
    assert record_ids(named.read(last(found))) == []


def test_the_command_is_an_argument_vector_with_all_that_the_settings_choose(tmp_path: Path) -> None:
    program = write_history(tmp_path, [])
    config = settings(
        program, pool="p.example.org", job_status=(3, 4), constraint="'Owner == \"o`id`\"'", query_type="shell"
    )
    list(source(config).read(None))
    [argv] = calls(tmp_path)
    assert argv[:9] == [
        "-backwards", "-name", "s1", "-pool", "p.example.org",
        "-constraint", "JobStatus == 3 || JobStatus == 4", "-constraint", 'Owner == "o`id`"',
    ]  # fmt: skip
    assert argv[9:11] == ["-json", "-attributes"]
    assert {"GlobalJobId", "Owner", "CpusProvisioned", "CompletionDate"} <= set(argv[11].split(","))


@pytest.mark.parametrize(
    ("constraint", "kind", "asked"),
    [
        ("JobUniverse == 5", "shell", "JobUniverse == 5"),
        ('Owner == "bob"', "shell", 'Owner == "bob"'),
        ('"Owner == \\"bob\\""', "shell", 'Owner == "bob"'),
        ('"Owner == \\"bob\\""', "exec", '"Owner == \\"bob\\""'),
        ("'a' =?= 'b'", "shell", "'a' =?= 'b'"),
    ],
)
def test_a_constraint_is_taken_as_a_shell_would_have_given_it(
    tmp_path: Path, constraint: str, kind: str, asked: str
) -> None:
    config = settings(write_history(tmp_path, []), constraint=constraint, query_type=kind)
    assert config.expression == asked


def test_a_history_file_is_read_once_whatever_the_schedds(tmp_path: Path) -> None:
    program = write_history(tmp_path, jobs(1))
    config = settings(program, history_file="/var/history", schedd_names=("s1", "s2"), pool="p")
    found = list(source(config).read(None))
    assert record_ids(found) == ids(1)
    assert [argv[:3] for argv in calls(tmp_path)] == [["-backwards", "-file", "/var/history"]]
    assert list(places(found)) == ["/var/history"]


def test_an_attribute_that_holds_an_expression_is_asked_for_evaluated(tmp_path: Path) -> None:
    program = write_history(tmp_path, [ad(2), ad(1, MemoryUsage="/Expr(((ResidentSetSize + 1023) / 1024))/")])
    components = (ComponentRule(name="Memory", key="MemoryUsage", default_value=0),)
    plain = source(settings(program, components=components, history_format="json"))
    with pytest.raises(SourceUnreadable, match="MemoryUsage holds an expression"):
        list(plain.read(None))
    keys = list(source(settings(program, components=components))._history._keys)
    values = {key.lower(): value for key, value in ad(1, MemoryUsage=17).items()}
    line = ' "value-0" '.join(_printed(values.get(key.lower())) for key in keys)
    (tmp_path / "history.values").write_text("\t".join(keys) + f'\n"entry-0" {line}\n')
    found = list(source(settings(program, components=components)).read(None))
    assert [record.components[0].amount for batch in found for record in batch.records] == [17]
    assert ["-af:V" in argv for argv in calls(tmp_path)] == [False, False, True]


def _printed(value: object) -> str:
    if value is None:
        return "undefined"
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_one_odd_job_stops_no_other(tmp_path: Path) -> None:
    odd = [
        ad(2, GlobalJobId=None),
        ad(3, CpusProvisioned="many"),
        ad(4, CpusProvisioned=None),
        ad(5, LastMatchTime="never"),
        ad(6, CompletionDate=10**17),
        ad(7, CompletionDate=0, EnteredCurrentStatus=-1),
        ad(8, CpusProvisioned=-1),
        ad(9, LastMatchTime=ENDED + 1),
    ]
    found = list(source(settings(write_history(tmp_path, [ad(1), *odd, ad(10)]))).read(None))
    assert record_ids(found) == ids(1, 10)
    assert len(found[-1].refused) == len(odd)
    assert found[-1].seen == len(odd) + 2
    assert '"ClusterId": 3' in found[-1].refused[1].raw


def test_a_machine_without_condor_history_is_unreadable_and_no_error_at_the_start(tmp_path: Path) -> None:
    condor = source(settings(tmp_path / "none"))
    with pytest.raises(SourceUnreadable, match="cannot be run"):
        list(condor.read(None))


def test_a_condor_history_that_hangs_is_killed(tmp_path: Path) -> None:
    program = command(tmp_path)
    program.write_text("#!/bin/sh\nprintf '[\\n'\nexec sleep 600\n")
    with pytest.raises(SourceUnreadable, match="had not ended in time"):
        list(source(settings(program, history_timeout_seconds=0.2)).read(None))


def test_a_damaged_cursor_is_no_reason_to_begin_anew(tmp_path: Path) -> None:
    condor = source(settings(write_history(tmp_path, [])))
    for cursor in (
        "",
        "{}",
        "nonsense",
        '{"places":{"s1":{"first":"2026-11-21T00:00:00"}}}',
        '{"places":{},"version":2}',
    ):
        with pytest.raises(SourceUnreadable, match="cursor"):
            list(condor.read(cursor))


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path) -> None:
    clock = SetClock()
    config = settings(write_history(tmp_path, jobs(1)))
    cursor = last(list(source(config, clock).read(None)))
    clock.advance(days=-400)
    write_history(tmp_path, jobs(2, 1))
    assert record_ids(source(config, clock).read(cursor)) == ids(2)
