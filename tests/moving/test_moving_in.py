"""An AUDITOR database of either generation is read into our store, compared, and followed."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from jobmeter.contract import RecordStore
from jobmeter.model.question import Question
from jobmeter.moving.comparing import Comparison, compare
from jobmeter.moving.source import AuditorDatabase, NoAuditorDatabase, Place, SourceAway, Sums
from jobmeter.moving.transfer import Bad, Carried, Target, Transfer
from jobmeter.observe.host import SystemClock
from jobmeter.run.main import main
from tests.clients.records import component, record
from tests.given import ALL, ids
from tests.given import record as ours
from tests.moving.auditor_database import AuditorTables, Json, auditor_tables
from tests.postgresql import PrivatePostgresql
from tests.process import PATIENCE_SECONDS, eventually

LONG = "l" * 256
STOP = "2024-03-01T13:00:05.999999+00:00"

GOOD: list[Json] = [
    record("plain", stop_time=STOP, meta={"site_id": ["A"]}, components=[component("Cores", 8, HEPSPEC=11.25)]),
    record("running", meta={"site_id": ["A"]}, components=[component("Cores", 1)]),
    record("bare", start_time="2021-12-06T16:29:43.079043+00:00", stop_time="2021-12-06T16:29:43.079043+00:00"),
    record("zone", start_time="2024-03-01T00:30:00.000001+02:00", stop_time="2024-03-01T01:59:59.999999+02:00"),
    record(
        'ugly "quoted" \\ {}[]\n\t;\'--',
        stop_time=STOP,
        meta={"site": ["B", "b"], 'k"ey\\': ["日本", "e\u0301", "a\nb"], "1": ["x y", "%"]},
        components=[
            component("mem", 2**63 - 1, tiny=1.05e-8, HEPSPEC=11.25),
            component("Cores", 0),
            component("Cores", 4, third=1 / 3, huge=1.7e308),
        ],
    ),
    record(LONG, start_time="1970-01-01T00:00:00+00:00", stop_time="1970-01-01T00:00:01.5+00:00", meta={LONG: [LONG]}),
    record("e\u0301" * 256, stop_time=STOP, meta={"site_id": ["e\u0301" * 256]}),
    record("日本" * 128 + "\u0301" * 600, stop_time=STOP, components=[component("Cores", 3)]),
]

BAD = [
    record("before", start_time="2024-03-01T12:00:00+00:00", stop_time="2024-03-01T11:00:00+00:00"),
    record("endless", stop_time="infinity", components=[component("Cores", 5)]),
    record("christ", start_time="0044-03-15 12:00:00 BC", stop_time="2024-03-01T11:00:00+00:00"),
    record("   "),
    record("no-number", stop_time=STOP, components=[component("Cores", 2, score=float("inf"))]),
]

BAD_JSONB: list[Json] = [
    record("float", stop_time=STOP, components=[component("Cores", 1.5)]),  # type: ignore[arg-type]
    record("text", stop_time=STOP, meta={"site_id": "A"}, components=[{"name": "Cores", "amount": "8", "scores": []}]),
    record("number", stop_time=STOP, meta={"site_id": [1]}),
    record("object", stop_time=STOP, components={"name": "Cores"}),
    record("deep", stop_time=STOP, meta={"a": [[["b"]]]}),
]


@pytest.fixture(params=[False, True], ids=["tables", "jsonb"])
def tables(request: pytest.FixtureRequest, postgresql: PrivatePostgresql) -> Iterator[AuditorTables]:
    """An empty AUDITOR database of either generation."""
    with auditor_tables(postgresql.new_database(empty=True), jsonb=request.param) as made:
        yield made


@pytest.fixture
def target(store: RecordStore) -> Target:
    assert isinstance(store, RecordStore)
    return store  # type: ignore[return-value]


def url_of(tables: AuditorTables) -> str:
    info = tables.connection.info
    return f"postgresql:///{info.dbname}?host={info.host}&user={info.user}"


def bad_of(tables: AuditorTables) -> list[Json]:
    if not tables.jsonb:
        return BAD
    return [item for item in [*BAD, *BAD_JSONB] if item["record_id"] != "no-number"]  # JSON has no infinity


def moved(tables: AuditorTables, target: Target) -> tuple[Carried, list[Bad], Comparison]:
    bad: list[Bad] = []
    transfer = Transfer(target, "test", SystemClock())
    with AuditorDatabase(url_of(tables)).snapshot() as snapshot:
        carried = transfer.run(snapshot, lambda _: None, bad.append)
        return carried, bad, compare(snapshot, target, lambda _: None)


def test_records_are_moved_as_they_were(tables: AuditorTables, target: Target) -> None:
    for item in GOOD:
        tables.add(item)
    carried, bad, compared = moved(tables, target)
    assert bad == []
    assert (carried.read, carried.new) == (len(GOOD), len(GOOD))
    assert compared.equal
    held = [json.loads(line) for line in b"".join(target.stream(Question(ALL))).splitlines()]
    by_id = {item["record_id"]: item for item in held}
    assert by_id.keys() == {item["record_id"] for item in GOOD}
    ugly = by_id[GOOD[4]["record_id"]]
    assert ugly["components"] == GOOD[4]["components"]
    assert {key: set(values) for key, values in ugly["meta"].items()} == {
        key: set(values) for key, values in GOOD[4]["meta"].items()
    }
    assert by_id["zone"]["start_time"] == "2024-02-29T22:30:00.000001Z"
    assert by_id["zone"]["stop_time"] == "2024-02-29T23:59:59.999999Z"
    assert by_id["running"]["stop_time"] is None
    assert by_id["bare"]["meta"] is None


def test_sums_per_month_and_site_are_those_of_the_source(tables: AuditorTables, target: Target) -> None:
    for item in GOOD:
        tables.add(item)
    _, _, compared = moved(tables, target)
    lines = {line.place: line for line in compared.lines}
    assert lines[Place("2024-03", "A")].source == Sums(1, 1, Decimal(8))
    assert lines[Place("running", "A")].stored == Sums(1, 1, Decimal(1))
    assert lines[Place("2024-02", "")].stored == Sums(1, 0, Decimal(0))
    ugly = lines[Place("2024-03", "B")]
    assert ugly.source == ugly.stored == Sums(1, 3, Decimal(2**63 - 1 + 4))
    assert compared.total.source == compared.total.stored


def test_a_bad_row_becomes_a_dead_letter_and_stops_nothing_else(tables: AuditorTables, target: Target) -> None:
    bad_records = bad_of(tables)
    for item in [*GOOD[:2], *bad_records, GOOD[2]]:
        tables.add(item)
    carried, bad, compared = moved(tables, target)
    assert sorted(ids(target)) == sorted(item["record_id"] for item in GOOD[:3])
    assert [item.record_id for item in bad] == [item["record_id"] for item in bad_records]
    assert (carried.new, carried.bad) == (3, len(bad_records))
    letters = target.letters(100)
    assert len(letters) == len(bad_records)
    assert all(b'"record_id"' in letter.body and letter.reason.startswith("row ") for letter in letters)
    assert compared.equal
    assert compared.total.dead.records == len(bad_records)
    assert compared.total.source.records == 3 + len(bad_records)


def test_a_repeat_is_harmless(tables: AuditorTables, target: Target) -> None:
    for item in [*GOOD, *bad_of(tables)]:
        tables.add(item)
    moved(tables, target)
    letters = len(target.letters(100))
    carried, _, compared = moved(tables, target)
    assert (carried.new, carried.stopped) == (0, 0)
    assert compared.equal
    assert len(target.letters(100)) == letters
    again = Transfer(target, "test", SystemClock(), from_start=True)
    with AuditorDatabase(url_of(tables)).snapshot() as snapshot:
        assert again.run(snapshot, lambda _: None, lambda _: None).same == len(GOOD)


def test_what_stops_later_and_what_comes_later_is_followed(tables: AuditorTables, target: Target) -> None:
    tables.add(GOOD[1], updated="2024-03-01T12:00:00+00:00")
    moved(tables, target)
    tables.update("running", STOP)
    tables.add(GOOD[0])
    carried, bad, compared = moved(tables, target)
    assert (carried.new, carried.stopped, bad) == (1, 1, [])
    assert compared.equal
    assert compared.total.stored.records == 2


def test_old_rows_are_not_read_again(tables: AuditorTables, target: Target) -> None:
    for item in GOOD:
        tables.add(item, updated="2024-03-01T12:00:00+00:00")
    moved(tables, target)
    carried, _, compared = moved(tables, target)
    assert carried.read == 0
    assert compared.equal


class Broken(Exception):  # noqa: N818 - what happens
    pass


def test_a_transfer_that_broke_off_goes_on_where_it_was(tables: AuditorTables, target: Target) -> None:
    old = "2024-03-01T12:00:00+00:00"
    for number in range(2100):
        tables.add(record(f"job-{number:05}"), updated=old)

    def breaks(_: Carried) -> None:
        raise Broken

    with AuditorDatabase(url_of(tables)).snapshot() as snapshot, pytest.raises(Broken):
        Transfer(target, "test", SystemClock()).run(snapshot, breaks, lambda _: None)
    assert len(ids(target)) == 2000
    tables.update("job-00007", STOP)
    carried, _, compared = moved(tables, target)
    assert (carried.read, carried.new, carried.stopped) == (101, 100, 1)
    assert compared.equal


def test_a_record_with_another_content_is_kept_as_a_letter_and_told(tables: AuditorTables, target: Target) -> None:
    tables.add(record("a", stop_time=STOP, components=[component("Cores", 8)]))
    moved(tables, target)
    tables.connection.execute(
        "UPDATE auditor_accounting SET components = '[]'" if tables.jsonb else "UPDATE components SET amount = 9"
    )
    _, bad, compared = moved(tables, target)
    assert not compared.equal
    assert compared.different == ("a",)
    assert [item.reason for item in bad] == ["conflict: another record with this id is stored already"]


def test_what_is_missing_here_is_told(tables: AuditorTables, target: Target) -> None:
    tables.add(record("a", stop_time=STOP))
    with AuditorDatabase(url_of(tables)).snapshot() as snapshot:
        compared = compare(snapshot, target, lambda _: None)
    assert compared.missing == ("a",)
    assert not compared.equal


def test_records_of_others_in_our_store_do_not_matter(tables: AuditorTables, target: Target) -> None:
    target.put([ours(name) for name in ("A", "m", "zz", "é" * 1000)])
    tables.add(record("a", stop_time=STOP))
    tables.add(record("x", stop_time=STOP))
    _, _, compared = moved(tables, target)
    assert compared.equal
    assert compared.total.stored.records == 2


def test_the_source_is_never_written_to(tables: AuditorTables) -> None:
    with (
        AuditorDatabase(url_of(tables)).snapshot() as snapshot,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        snapshot._connection.execute("CREATE TABLE x (y int)")


def test_a_database_without_auditors_tables_is_told(postgresql: PrivatePostgresql) -> None:
    with pytest.raises(NoAuditorDatabase, match="neither"):
        AuditorDatabase(postgresql.new_database(empty=True))
    with pytest.raises(SourceAway):
        AuditorDatabase("postgresql:///nothing?host=/nowhere")


def command(*words: str) -> int:
    return main(["migrate", *words])


def test_the_command_moves_in_and_prints_both_sums(
    tables: AuditorTables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for item in [*GOOD, BAD[0]]:
        tables.add(item)
    place = f"sqlite:///{tmp_path}/records.db"
    assert command("--database", place, "--from", url_of(tables), "--dry-run", "--json") == 0
    dry = json.loads(capsys.readouterr().out)
    assert (dry["read"], dry["bad"], dry["dry_run"]) == (len(GOOD) + 1, 1, True)
    assert not (tmp_path / "records.db").exists()
    assert command("--database", place, "--from", url_of(tables), "--json") == 0
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert report["schema"] == ("jsonb" if tables.jsonb else "tables")
    assert report["equal"] is True
    assert report["total"]["source"]["records"] == len(GOOD) + 1
    assert report["total"]["stored"]["records"] == len(GOOD)
    assert report["total"]["dead"]["records"] == 1
    assert report["bad_rows"][0]["record_id"] == "before"
    assert "stop_time: is before start_time" in told.err
    with sqlite3.connect(tmp_path / "records.db") as database:
        assert database.execute("SELECT count(*) FROM records").fetchone() == (len(GOOD),)
    database.close()
    assert command("--database", place, "--from", url_of(tables)) == 0
    assert "equal" in capsys.readouterr().out.splitlines()


def test_the_command_refuses_what_is_no_postgresql_database(
    tmp_path: Path, postgresql: PrivatePostgresql, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"sqlite:///{tmp_path}/records.db"
    assert command("--database", place, "--from", place) == 2
    assert command("--database", place, "--from", postgresql.new_database(empty=True)) == 2
    assert "neither of AUDITOR's tables" in capsys.readouterr().err
    assert command("--database", place, "--from", "postgresql:///x?host=/nowhere") == 1


def test_the_command_follows_until_it_is_told_to_stop(tables: AuditorTables, tmp_path: Path) -> None:
    tables.add(GOOD[1])
    place = tmp_path / "records.db"
    words = ["--database", f"sqlite:///{place}", "--from", url_of(tables), "--follow", "--poll-seconds", "0.1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobmeter", "migrate", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        eventually(lambda: rows_in(place, "stop_us IS NULL") == 1, "the running job is there")
        tables.update("running", STOP)
        tables.add(GOOD[0])
        eventually(lambda: rows_in(place, "stop_us IS NOT NULL") == 2, "both jobs are there, stopped")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, output
        assert b"equal" in output
    finally:
        process.kill()
        process.wait()


def rows_in(place: Path, condition: str) -> int:
    if not place.exists():
        return 0
    with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as database:
        try:
            return int(database.execute(f"SELECT count(*) FROM records WHERE {condition}").fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # the tables are being made
