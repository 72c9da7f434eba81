from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobmeter.contract import JobBatch, JobSource, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.observe.batch.oar import SETTLING, Settings
from jobmeter.observe.oar.job import COLUMNS
from jobmeter.settings.load import load
from tests.observe.oar_answers import NOON, NOW, SetClock, calls, job, record_ids, source, write_answers

DAY = timedelta(days=1)


def settings(folder: Path, jobs: list[dict[str, Any]], **more: Any) -> Settings:
    given = {"earliest_datetime": NOW - DAY, **write_answers(folder / "oar", jobs), **more}
    return msgspec.convert(given, Settings)


def windows(folder: Path) -> list[str]:
    return [argv[argv.index("--sql") + 1] for argv in calls(folder / "oar") if argv[0] == "oarstat"]


def shaped(folder: Path, entry: dict[str, Any], **more: Any) -> JobBatch:
    """What one job becomes, in a single batch."""
    [batch] = list(source(settings(folder, [entry], slice_seconds=10**9, **more)).read(None))
    return batch


def test_the_source_keeps_the_contract(tmp_path: Path) -> None:
    assert isinstance(source(settings(tmp_path, [])), JobSource)


def test_a_job_becomes_a_record_by_the_defaults(tmp_path: Path) -> None:
    [record] = shaped(tmp_path, job()).records
    assert record.record_id == "oar-17"
    assert record.meta == {
        "site_id": ("NOT_CONFIGURED",),
        "user_id": ("alice",),
        "group_id": ("physics",),
        "collector_type": ("oar",),
        "time_unit": ("seconds",),
    }
    assert [(each.name, each.amount) for each in record.components] == [("Cores", 2)]
    assert record.runtime_seconds == 3600


def test_oarstat_is_asked_by_time_of_end_in_whole_numbers_without_a_shell(tmp_path: Path) -> None:
    list(source(settings(tmp_path, [job()], slice_seconds=10**9)).read(None))
    where = (
        f"state IN ('Terminated', 'Error') AND (stop_time >= {NOON - 86400} AND stop_time < {NOON}"
        f" OR stop_time = 0 AND submission_time >= {NOON - 86400} AND submission_time < {NOON})"
    )
    assert calls(tmp_path / "oar") == [["oarstat", "-J", "-f", "--sql", where], ["oarnodes", "-J"]]


def test_the_first_read_begins_now_and_later_ones_see_what_ended_since(tmp_path: Path) -> None:
    clock = SetClock()
    jobs = [job(1, stopTime=NOON + 1800), job(2, stopTime=NOON - 1)]
    oar = source(settings(tmp_path, jobs, earliest_datetime=None), clock)
    first = list(oar.read(None))
    assert record_ids(first) == []
    clock.advance(hours=1)
    assert record_ids(list(oar.read(first[-1].cursor))) == ["oar-1"]


def test_a_long_time_is_read_in_slices_and_goes_on_from_the_last(tmp_path: Path) -> None:
    jobs = [job(hour, stopTime=NOON - hour * 3600, startTime=NOON - 90_000) for hour in (5, 11, 23)]
    config = settings(tmp_path, jobs, slice_seconds=6 * 3600, sweep_seconds=0)
    batches = list(source(config).read(None))
    assert [[record.record_id for record in batch.records] for batch in batches] == [
        ["oar-23"],
        [],
        ["oar-11"],
        ["oar-5"],
    ]
    assert record_ids(list(source(config).read(batches[2].cursor))) == ["oar-5"]


def test_a_job_is_taken_once_oar_has_settled_it(tmp_path: Path) -> None:
    clock = SetClock()
    oar = source(settings(tmp_path, [job(stopTime=NOON - 10)]), clock)
    first = list(oar.read(None))
    assert first[-1].ignored == {SETTLING: 1}
    clock.advance(seconds=30)
    assert record_ids(list(oar.read(first[-1].cursor))) == ["oar-17"]


def test_a_period_is_read_again_without_moving_the_cursor(tmp_path: Path) -> None:
    oar = source(settings(tmp_path, [job()]))
    [batch] = list(oar.read("kept", Period(NOW - timedelta(hours=2), NOW)))
    assert (batch.cursor, record_ids([batch])) == ("kept", ["oar-17"])


def test_one_odd_job_stops_no_other(tmp_path: Path) -> None:
    jobs = [job(1), job(2, stopTime="later", submissionTime=NOON - 50), job(3, types="besteffort"), job(4)]
    answers = settings(tmp_path, jobs, slice_seconds=10**9)
    document = json.loads((tmp_path / "oar" / "oarstat.json").read_text())
    (tmp_path / "oar" / "oarstat").write_text(f"#!/bin/sh\ncat {tmp_path / 'all.json'}\n")
    (tmp_path / "all.json").write_text(json.dumps({**document, "5": [], "6": document["4"]}))
    [batch] = list(source(answers).read(None))
    assert record_ids([batch]) == ["oar-1", "oar-4"]
    assert sorted(entry.reason for entry in batch.refused) == [
        "is not a job's JSON object",
        "stands under the id '6', which is not its own",
        "stop_time is 'later' and no whole number",
        "types is no list",
    ]
    assert batch.seen == 6


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"startTime": 0, "stopTime": 0, "assigned_resources": [], "state": "Error"}, "never started"),
        ({"startTime": NOON - 3600, "assigned_resources": [], "state": "Error"}, "never started"),
        ({"state": "Finishing"}, "not ended"),
    ],
)
def test_jobs_that_used_nothing_are_left_out_and_counted(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    batch = shaped(tmp_path, job(**changes))
    assert batch.ignored == {reason: 1}
    assert (batch.records, batch.refused) == ((), ())


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({"exit_code": 1792}, {"exit_code": "7", "exit_signal": None, "wait_status": "1792", "ending": "failed"}),
        ({"exit_code": 9}, {"exit_code": None, "exit_signal": "9", "ending": "failed"}),
        ({"exit_code": 139}, {"exit_code": None, "exit_signal": "11", "ending": "failed"}),
        ({"exit_code": None}, {"exit_code": None, "wait_status": None, "ending": "completed"}),
        ({"exit_code": "0"}, {"exit_code": "0", "ending": "completed"}),
        ({"state": "Error", "events": [{"type": "WALLTIME"}, {"type": "FRAG_JOB_REQUEST"}]}, {"ending": "walltime"}),
        ({"state": "Error", "events": [{"type": "FRAG_JOB_REQUEST"}]}, {"ending": "deleted"}),
        ({"state": "Error", "events": [{"type": "BESTEFFORT_KILL"}]}, {"ending": "preempted"}),
        ({"state": "Error"}, {"ending": "error"}),
        ({"types": ["besteffort", "inner=3"]}, {"types": "besteffort,inner=3"}),
        ({"walltime": None}, {"walltime_seconds": None}),
        ({}, {"elapsed_seconds": "3600", "core_seconds": "7200", "suspended_seconds": None, "owner": "alice"}),
    ],
)
def test_columns_are_derived(tmp_path: Path, changes: dict[str, Any], texts: dict[str, str | None]) -> None:
    rules = [{"name": key, "key": key, "key_type": "String", "key_allow_empty": True} for key in texts]
    [record] = shaped(tmp_path, job(**changes), meta=rules).records
    assert record.meta is not None
    assert {key: record.meta.get(key, (None,))[0] for key in texts} == texts


def test_cores_are_told_by_their_property_and_only_ordinary_resources_count(tmp_path: Path) -> None:
    nodes = {
        "1": {"type": "default", "network_address": "n1", "core": 0},
        "2": {"type": "default", "network_address": "n1", "core": 0},
        "3": {"type": "default", "network_address": "n2", "core": 0},
        "4": {"type": "default", "network_address": "n2", "core": None},
        "5": {"type": "licence", "network_address": "", "core": None},
    }
    config = settings(tmp_path, [job(assigned_resources=[1, 2, 3, 4, 5, 77])], components=[
        {"name": name, "key": name} for name in ("cores", "hosts", "resources")])  # fmt: skip
    (tmp_path / "oar" / "oarnodes.json").write_text(json.dumps(nodes))
    [record] = [record for batch in source(config).read(None) for record in batch.records]
    # The threads 1 and 2 are one core; 4 has no number, and 77 is listed no more.
    assert {each.name: each.amount for each in record.components} == {"cores": 4, "hosts": 2, "resources": 5}


@pytest.mark.parametrize(
    ("chosen", "is_taken"),
    [
        ({"queue": ["default"]}, True),
        ({"queue": ["admin"]}, False),
        ({"user": ["bob", "alice"], "project": ["physics"]}, True),
        ({"project": ["phys"]}, False),
        ({"state": ["Error"]}, False),
    ],
)
def test_the_filter_chooses_jobs(tmp_path: Path, chosen: dict[str, list[str]], is_taken: bool) -> None:
    batch = shaped(tmp_path, job(), job_filter=chosen)
    assert batch.ignored == ({} if is_taken else {"not chosen by job_filter": 1})


def test_more_output_than_wanted_is_asked_for_in_smaller_pieces(tmp_path: Path) -> None:
    jobs = [job(number, stopTime=NOON - number * 60, message="x" * 500) for number in range(1, 60)]
    config = settings(tmp_path, jobs, output_bytes=8192, earliest_datetime=NOW - timedelta(hours=1), settle_seconds=0)
    assert sorted(record_ids(list(source(config).read(None)))) == sorted(f"oar-{number}" for number in range(1, 60))
    (tmp_path / "oar" / "oarstat.json").write_text(json.dumps({"1": job(1, stopTime=NOON - 60, message="x" * 9000)}))
    with pytest.raises(SourceUnreadable, match="output_bytes"):
        list(source(config).read(None))


def test_an_answer_with_a_warning_is_none_unless_told_otherwise(tmp_path: Path) -> None:
    config = settings(tmp_path, [])
    (tmp_path / "oar" / "fault.txt").write_text("DBD::Pg::st execute failed: server closed the connection")
    with pytest.raises(SourceUnreadable, match="server closed the connection"):
        list(source(config).read(None))
    list(source(msgspec.structs.replace(config, warnings="ignore")).read(None))


@pytest.mark.parametrize("document", ["{", "[]", "17", '{"1": {}} x'])
def test_an_answer_that_is_no_document_is_unreadable(tmp_path: Path, document: str) -> None:
    config = settings(tmp_path, [job()])
    (tmp_path / "oar" / "oarstat.json").write_text(document)
    (tmp_path / "oar" / "oarstat").write_text(f"#!/bin/sh\ncat {tmp_path / 'oar' / 'oarstat.json'}\n")
    with pytest.raises(SourceUnreadable, match="what was printed"):
        list(source(config).read(None))


@pytest.mark.parametrize("read_from", ["oarstat", "database"])
def test_a_machine_without_the_command_is_unreadable_and_no_error_at_the_start(read_from: str) -> None:
    config = msgspec.convert(
        {"read_from": read_from, "oarstat_path": "/none/oarstat", "psql_path": "/none/psql",
         "earliest_datetime": NOW - DAY}, Settings,
    )  # fmt: skip
    oar = source(config)
    with pytest.raises(SourceUnreadable, match="cannot be run"):
        list(oar.read(None))


def test_the_session_with_the_database_can_write_nothing_and_never_asks_for_a_password(tmp_path: Path) -> None:
    psql = tmp_path / "psql"
    psql.write_text(f'#!/bin/sh\necho "$PGOPTIONS|$PGPASSFILE|$PGCLIENTENCODING|$*" > {tmp_path / "asked"}\n')
    psql.chmod(0o755)
    config = msgspec.convert(
        {"read_from": "database", "psql_path": str(psql), "password_file": "/etc/oar.pgpass", "database": "dbname=o",
         "earliest_datetime": NOW - DAY, "slice_seconds": 10**9}, Settings,
    )  # fmt: skip
    list(source(config).read(None))
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("-c default_transaction_read_only=on|/etc/oar.pgpass|UTF8|-X -q -A -t -w ")
    assert " -d dbname=o -c " in asked


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"database": "host=h password=secret"}, "holds a password"),
        ({"database": "postgresql://oar:secret@h/oar"}, "holds a password"),
        ({"core_property": "core' OR '1"}, "is not the name of a property"),
        ({"sites": []}, "is empty"),
        ({"components": [{"name": "x", "key": "cpus"}]}, "names 'cpus'"),
        ({"sites": [{"name": "x", "only_if": {"key": "Partition", "matches": "x"}}]}, "names 'Partition'"),
    ],
)
def test_wrong_settings_are_told_at_the_start(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        msgspec.convert(wrong, Settings)


def test_a_damaged_cursor_is_no_reason_to_begin_anew(tmp_path: Path) -> None:
    oar = source(settings(tmp_path, []))
    for cursor in ("", "{}", "nonsense"):
        with pytest.raises(SourceUnreadable, match="cursor"):
            list(oar.read(cursor))


def test_an_empty_answer_needs_no_list_of_nodes(tmp_path: Path) -> None:
    list(source(settings(tmp_path, [], slice_seconds=10**9)).read(None))
    assert [argv[0] for argv in calls(tmp_path / "oar")] == ["oarstat"]


def test_the_configuration_on_the_collectors_page_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "collectors" / "oar.md").read_text()
    (tmp_path / "oar.yml").write_text(page.split("```yaml\n")[1].split("```")[0])
    loaded = load(Settings, file=tmp_path / "oar.yml", environment={}, prefix=None)
    assert [site.name for site in loaded.settings.sites] == ["besteffort", "cluster"]
    assert loaded.notes == ()


def test_every_column_is_described_on_the_collectors_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "collectors" / "oar.md").read_text()
    assert {column for column in COLUMNS if f"`{column}`" not in page} == set()
