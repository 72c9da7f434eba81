from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobmeter.contract import JobBatch, JobSource, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.observe.batch.slurm import SETTLING, Settings, open_source
from jobmeter.observe.shape.rules import ComponentRule, KeyType, MetaRule
from jobmeter.observe.slurm.settings import JobFilter
from tests.observe.slurm_tables import NOW, SetClock, calls, host, record_ids, row, source, step, write_table

ANY = JobFilter(status=())
DAY = timedelta(days=1)


def settings(sacct: Path, **more: object) -> Settings:
    folder = sacct.parent
    options = {"sacct_path": str(sacct), "database_path": str(folder / "none.db"), "job_filter": ANY, **more}
    return Settings(**options)  # type: ignore[arg-type]


def windows(folder: Path) -> list[tuple[str, str]]:
    return [(argv[argv.index("-S") + 1], argv[argv.index("-E") + 1]) for argv, _ in calls(folder) if "-S" in argv]


def follow(batches: list[JobBatch]) -> str:
    return batches[-1].cursor


def test_the_source_keeps_the_contract(tmp_path: Path) -> None:
    assert isinstance(open_source(settings(write_table(tmp_path, [])), host(SetClock())), JobSource)


def test_the_first_read_begins_now_and_later_ones_see_what_ended_since(tmp_path: Path) -> None:
    clock = SetClock()
    sacct = write_table(tmp_path, [row(End="2026-11-21T12:30:00"), row(JobID="3", End="2026-11-21T11:59:59")])
    slurm = source(settings(sacct), clock)
    first = list(slurm.read(None))
    assert record_ids(first) == []
    clock.advance(hours=1)
    assert record_ids(list(slurm.read(follow(first)))) == ["slurm-17"]


def test_a_long_time_is_read_in_slices_each_with_its_cursor(tmp_path: Path) -> None:
    begin = NOW - timedelta(days=3, hours=12)
    jobs = [row(JobID=str(day), Start="2026-11-18T00:00:00", End=f"2026-11-{day}T12:00:00") for day in (18, 19, 20)]
    config = settings(write_table(tmp_path, jobs), earliest_datetime=begin)
    batches = list(source(config).read(None))
    assert [[record.record_id for record in batch.records] for batch in batches] == [
        ["slurm-18"],
        ["slurm-19"],
        ["slurm-20"],
        [],
    ]
    # Interrupted after two slices, it goes on from there, an overlap earlier.
    rest = list(source(config).read(batches[1].cursor))
    assert windows(tmp_path)[4][0] == "2026-11-19T23:00:00"
    assert record_ids(rest) == ["slurm-20"]


def test_every_read_looks_back_an_overlap_and_now_and_then_much_further(tmp_path: Path) -> None:
    clock = SetClock()
    config = settings(write_table(tmp_path, []), earliest_datetime=NOW - 10 * DAY, slice_seconds=30 * 86_400)
    slurm = source(config, clock)
    cursor = follow(list(slurm.read(None)))
    clock.advance(seconds=10)
    cursor = follow(list(slurm.read(cursor)))
    clock.advance(hours=1)
    cursor = follow(list(slurm.read(cursor)))
    clock.advance(seconds=10)
    list(slurm.read(cursor))
    assert [start for start, _ in windows(tmp_path)] == [
        "2026-11-11T12:00:00",
        "2026-11-21T11:00:00",
        "2026-11-19T13:00:10",
        "2026-11-21T12:00:10",
    ]


def test_nothing_before_the_beginning_is_ever_read(tmp_path: Path) -> None:
    clock = SetClock()
    slurm = source(settings(write_table(tmp_path, [])), clock)
    cursor = follow(list(slurm.read(None)))
    clock.advance(hours=5)
    list(slurm.read(cursor))
    assert windows(tmp_path) == [("2026-11-21T12:00:00", "2026-11-21T17:00:00")]


def test_a_clock_that_is_set_back_leaves_no_hole(tmp_path: Path) -> None:
    clock = SetClock()
    slurm = source(settings(write_table(tmp_path, []), earliest_datetime=NOW - DAY), clock)
    cursor = follow(list(slurm.read(None)))
    clock.advance(hours=-3)
    cursor = follow(list(slurm.read(cursor)))
    assert json.loads(cursor)["until"] == "2026-11-21T09:00:00Z"


def test_changed_rules_do_not_make_other_records_of_jobs_that_were_taken(tmp_path: Path) -> None:
    clock = SetClock()
    sacct = write_table(tmp_path, [])
    cursor = follow(list(source(settings(sacct, earliest_datetime=NOW - DAY), clock).read(None)))
    clock.advance(hours=2)
    changed = settings(sacct, components=(ComponentRule("Procs", "NCPUS"),))
    list(source(changed, clock).read(cursor))
    assert windows(tmp_path)[-1][0] == "2026-11-21T11:54:00"


def test_a_period_is_read_again_without_moving_the_cursor(tmp_path: Path) -> None:
    slurm = source(settings(write_table(tmp_path, [row()])))
    period = Period(datetime(2026, 11, 21, 10, tzinfo=UTC), datetime(2026, 11, 21, 11, tzinfo=UTC))
    assert [batch.cursor for batch in slurm.read("kept", period)] == ["kept"]
    assert record_ids(list(slurm.read(None, period))) == ["slurm-17"]


def test_a_job_is_taken_once_its_steps_have_settled(tmp_path: Path) -> None:
    clock = SetClock()
    jobs = [
        row(JobID="1", End="2026-11-21T11:59:30"),
        row(JobID="2", End="2026-11-21T11:58:00"),
        step("2", "batch", End="Unknown"),
    ]
    slurm = source(settings(write_table(tmp_path, jobs), earliest_datetime=NOW - DAY), clock)
    first = list(slurm.read(None))
    assert record_ids(first) == []
    assert first[-1].ignored == {SETTLING: 2}
    clock.advance(seconds=60)
    second = list(slurm.read(follow(first)))
    assert record_ids(second) == ["slurm-1"]
    clock.advance(seconds=300)
    assert set(record_ids(list(slurm.read(follow(second))))) == {"slurm-1", "slurm-2"}


def test_one_odd_job_stops_no_other(tmp_path: Path) -> None:
    jobs = [row(JobID="1"), row(JobID="odd"), row(JobID="3", NCPUS="many"), row(JobID="4", End="never"), row(JobID="5")]
    batches = list(source(settings(write_table(tmp_path, jobs), earliest_datetime=NOW - DAY)).read(None))
    assert record_ids(batches) == ["slurm-1", "slurm-5"]
    assert [entry.reason for entry in batches[0].refused] == [
        "'odd' is not the id of a job",
        "the component Cores has no value: the column NCPUS: 'many' is not a whole number, and there is no "
        "default_value",
        "'never' is not a date and time",
    ]
    assert batches[0].seen == 5


def test_sacct_is_asked_in_utc_without_a_shell_and_for_all_runs(tmp_path: Path) -> None:
    chosen = JobFilter(status=("completed", "NF"), partition=("p1", "p2"), user=("a",), group=("g",), account=("x",))
    config = settings(write_table(tmp_path, []), job_filter=chosen, earliest_datetime=NOW - DAY, cluster="big")
    list(source(config).read(None))
    [(argv, fixed)] = [call for call in calls(tmp_path) if call[0] != ["--version"]]
    assert fixed == {"TZ": "UTC", "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard", "SACCT_FORMAT": None}
    assert argv[:14] == [
        "-a", "-D", "-M", "big", "-S", "2026-11-20T12:00:00", "-E", "2026-11-21T12:00:00", "-s", "CD,NF",
        "-r", "p1,p2", "-u", "a",
    ]  # fmt: skip
    columns = argv[argv.index("--format") + 1].split(",")
    assert (columns[0], columns[-1]) == ("JobIDRaw", "State")
    assert "--noconvert" in argv


def test_jobs_that_end_in_the_hour_that_comes_twice_keep_their_lengths(tmp_path: Path) -> None:
    begin = datetime(2026, 10, 24, tzinfo=UTC)
    jobs = [row(Start="2026-10-25T00:30:00", End="2026-10-25T01:30:00")]
    config = settings(
        write_table(tmp_path, jobs), earliest_datetime=begin, meta=(MetaRule("s", "Start", KeyType.DATE_TIME),)
    )
    [record] = [record for batch in source(config).read(None) for record in batch.records]
    assert record.runtime_seconds == 3600
    assert record.meta is not None
    assert record.meta["s"] == ("2026-10-25 00:30:00 UTC",)


def test_a_run_that_slurm_submitted_again_is_found_by_asking_for_it(tmp_path: Path) -> None:
    jobs = [
        row(JobID="9", State="NODE_FAIL", End="2026-11-21T10:10:00"),
        row(JobID="9", State="RUNNING", Submit="2026-11-21T10:10:00", Start="2026-11-21T10:11:00", End="Unknown"),
    ]
    config = settings(write_table(tmp_path, jobs), earliest_datetime=NOW - DAY)
    assert record_ids(list(source(config).read(None))) == ["slurm-9-1795255201"]


def test_json_is_read_where_slurm_has_it_and_every_column_stands_in_it(tmp_path: Path) -> None:
    sacct = write_table(tmp_path, [row()], version="slurm 24.11.5")
    (tmp_path / "sacct.json").write_text('{"jobs": []}')
    config = settings(sacct, earliest_datetime=NOW - DAY)
    assert record_ids(list(source(config).read(None))) == []
    assert any("--json" in argv for argv, _ in calls(tmp_path))
    not_in_json = settings(sacct, earliest_datetime=NOW - DAY, components=(ComponentRule("Cores", "NCPUS"),), meta=(
        MetaRule("state", "State", KeyType.STRING),))  # fmt: skip
    assert record_ids(list(source(not_in_json).read(None))) == ["slurm-17"]


def test_json_that_is_none_is_answered_by_reading_the_table(tmp_path: Path) -> None:
    sacct = write_table(tmp_path, [row()], version="slurm 24.11.5")
    (tmp_path / "sacct.json").write_text('{"jobs": [')
    config = settings(sacct, earliest_datetime=NOW - DAY)
    assert record_ids(list(source(config).read(None))) == ["slurm-17"]
    with pytest.raises(SourceUnreadable, match="printed no JSON"):
        list(source(settings(sacct, earliest_datetime=NOW - DAY, sacct_format="json")).read(None))


def test_more_output_than_wanted_is_asked_for_in_smaller_pieces(tmp_path: Path) -> None:
    # The stand-in prints everything whatever time is asked for, so that only the shortest time ends the splitting.
    jobs = [row(JobID=str(number)) for number in range(1, 200)]
    config = settings(
        write_table(tmp_path, jobs), earliest_datetime=NOW - timedelta(minutes=4), sacct_output_bytes=4096
    )
    with pytest.raises(SourceUnreadable, match="sacct_output_bytes"):
        list(source(config).read(None))
    assert windows(tmp_path)[:3] == [
        ("2026-11-21T11:56:00", "2026-11-21T12:00:00"),
        ("2026-11-21T11:56:00", "2026-11-21T11:58:00"),
        ("2026-11-21T11:56:00", "2026-11-21T11:57:00"),
    ]


@pytest.mark.parametrize("version", ["slurm 20.11.9", "slurm 24.11.5"])
def test_an_accounting_that_does_not_answer_is_said_with_its_reason(tmp_path: Path, version: str) -> None:
    sacct = write_table(tmp_path, [row()], version=version)
    (tmp_path / "fault.txt").write_text("sacct: error: slurm_persist_conn_open: Connection refused")
    with pytest.raises(SourceUnreadable, match="Connection refused"):
        list(source(settings(sacct, earliest_datetime=NOW - DAY)).read(None))


def test_a_machine_without_sacct_is_unreadable_and_no_error_at_the_start(tmp_path: Path) -> None:
    slurm = source(Settings(sacct_path=str(tmp_path / "none"), sacct_format="text", earliest_datetime=NOW - DAY))
    with pytest.raises(SourceUnreadable, match="cannot be run"):
        list(slurm.read(None))


def test_a_damaged_cursor_is_no_reason_to_begin_anew(tmp_path: Path) -> None:
    slurm = source(settings(write_table(tmp_path, [])))
    for cursor in ("", "{}", "nonsense", '{"until":"2026-11-21T00:00:00"}'):
        with pytest.raises(SourceUnreadable, match="cursor"):
            list(slurm.read(cursor))
