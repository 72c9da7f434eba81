"""A store of which a part is archived answers like one of which nothing is; on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from jobmeter.contract import StoreUnavailable
from jobmeter.model.outcome import Stopped, Stored
from jobmeter.model.question import (
    Bound,
    Column,
    ComponentCondition,
    MetaCondition,
    Op,
    Order,
    Position,
    Question,
    Rule,
    Scope,
    ScoreBound,
    ScoreCondition,
)
from jobmeter.model.record import Component, RecordStop, microseconds
from jobmeter.model.total import (
    COUNT,
    AmountDimension,
    Extreme,
    Factor,
    FieldDimension,
    MetaDimension,
    Product,
    Span,
    TimeDimension,
    TimeUnit,
    TotalQuestion,
)
from jobmeter.store.archive.moving import Plan, archive_old, bring_back, listed
from jobmeter.store.archive.shelf import ArchiveBusy
from jobmeter.store.open import ArchivingStore, open_store
from jobmeter.wire.auditor import encode_record
from tests.given import ALL, lines
from tests.postgresql import PrivatePostgresql
from tests.store.archive.material import HOSTILE, NOW, archived, at, hot_ids, job, mixed

MIB = 2**20
MID = microseconds(at(3))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchivingStore]:
    """The same records, none of them archived."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('plain') / 'db'}", migrate=True)
    store.put(mixed())
    yield store
    store.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def read(
    request: pytest.FixtureRequest, postgresql: PrivatePostgresql, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ArchivingStore]:
    """A store of which a part is archived, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("read")
    url = f"sqlite:///{folder / 'db'}" if request.param == "sqlite" else postgresql.new_database()
    store = open_store(url, migrate=True)
    store.put(mixed())
    assert len(archived(store, folder / "archive", file_records=70)) > 3
    yield store
    store.close()


@pytest.fixture
def half(store: ArchivingStore, tmp_path: Path) -> ArchivingStore:
    """Another one, for tests that change it."""
    assert set(store.put(mixed())) == {Stored.NEW}
    assert len(archived(store, tmp_path / "archive")) > 3
    return store


ORDERS = [Order(column, descending) for column in Column for descending in (False, True)]
QUESTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "month": {"stop_time": (Bound(Op.GTE, MID), Bound(Op.LT, microseconds(at(40))))},
    "before": {"stop_time": (Bound(Op.LTE, MID),)},
    "instant": {"stop_time": (Bound(Op.EQUALS, microseconds(at(8))),)},
    "started": {"start_time": (Bound(Op.GT, MID - 3_600_000_000),)},
    "runtime": {"runtime": (Bound(Op.GTE, 150), Bound(Op.LT, 3600))},
    "huge": {"runtime": (Bound(Op.LTE, 2**63 - 1),), "stop_time": (Bound(Op.GT, -(2**70)),)},
    "site": {"meta": (MetaCondition("site_id", ("S1",)),)},
    "two values": {"meta": (MetaCondition("group", ("h", "g")),)},
    "lacks": {"meta": (MetaCondition("site_id", (), ("S1", "A")),)},
    "has and lacks": {"meta": (MetaCondition("group", ("g",), ("nobody",)), MetaCondition("note"))},
    "case": {"meta": (MetaCondition("SITE_ID", ("B",)),)},
    "component": {"components": (ComponentCondition("Cores", (Bound(Op.GT, 7), Bound(Op.LTE, 100))),)},
    "wall": {"components": (ComponentCondition("WallTime", (Bound(Op.LT, 150),)),)},
    "any wall": {"components": (ComponentCondition("WallTime", ()),)},
    "second": {"components": (ComponentCondition("Cores", (Bound(Op.EQUALS, 2),)),)},
    "score": {"scores": (ScoreCondition("HS", (ScoreBound(Op.GT, 1.5), ScoreBound(Op.LT, 9.0))),)},
    "any score": {"scores": (ScoreCondition("HEPSPEC", ()),)},
    "tiny score": {"scores": (ScoreCondition(HOSTILE[1], (ScoreBound(Op.EQUALS, 1.05e-8),)),)},
    "id": {"record_id": "slurm-12"},
    "long id": {"record_id": "x" * 2000},
    "no id": {"record_id": "nobody"},
    "NUL": {"record_id": "a\0"},
    **{f"hostile {number}": {"meta": (MetaCondition(name, (name,)),)} for number, name in enumerate(HOSTILE)},
    **{
        f"hostile component {number}": {"components": (ComponentCondition(name, (Bound(Op.GT, 0),)),)}
        for number, name in enumerate(HOSTILE)
    },
    "scope": {"scope": Scope(((Rule("site_id", ("S1", "A")),),))},
    "scope of two": {"scope": Scope(((Rule("site_id", ("S1",)), Rule("group", ("g",))), (Rule("user_id", ("ada",)),)))},
    "scope of nothing": {"scope": Scope(())},
}


@pytest.mark.parametrize("asked", QUESTIONS, ids=str)
def test_every_question_has_the_answer_of_a_store_without_archive(
    read: ArchivingStore, plain: ArchivingStore, asked: str
) -> None:
    question = Question(**{"scope": ALL, **QUESTIONS[asked]})
    # Whole and by time are the ways of nearly all questions; the others are tried with the plainest one.
    others = ORDERS if asked == "all" else [Order(), Order(descending=True)]
    for order in others:
        for limit in (None, 3):
            ordered = replace(question, order=order, limit=limit)
            assert lines(read, ordered) == lines(plain, ordered), ordered


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.column.value}-{order.descending}")
def test_pages_go_on_from_archive_to_database(read: ArchivingStore, plain: ArchivingStore, order: Order) -> None:
    question = Question(ALL, order=order, limit=17)
    found = []
    while True:
        page = read.page(question, MIB)
        found += page.bodies
        if page.last is None:
            break
        question = replace(question, after=page.last)
    assert found == lines(plain, Question(ALL, order=order))
    for place in (Position(None, 5), Position(MID if order.column is not Column.RECORD_ID else "odd", 5)):
        if place.value is not None or order.column in (Column.STOP_TIME, Column.RUNTIME):
            behind = Question(ALL, order=order, after=place)
            assert lines(read, behind) == lines(plain, behind)


def test_only_what_stopped_before_the_kept_months_leaves_the_database(read: ArchivingStore) -> None:
    kept = hot_ids(read)
    assert "running" in kept
    edge = at(30)
    assert {one.record_id for one in mixed() if one.stop_time is not None and one.stop_time >= edge} == kept - {
        "running"
    }


def test_the_edge_of_a_month_is_its_first_microsecond_in_utc(store: ArchivingStore, tmp_path: Path) -> None:
    store.put([job("last", at(30, -1)), job("first", at(30))])
    assert [moved.month for moved in archived(store, tmp_path)] == ["2025-04"]
    assert hot_ids(store) == {"first"}


def test_counts_are_those_of_a_store_without_archive(read: ArchivingStore, plain: ArchivingStore) -> None:
    for facet in (None, "site", "group", "user"):
        assert read.counts(facet) == plain.counts(facet)


TOTALS = {
    "site by month": TotalQuestion(
        Question(ALL),
        (MetaDimension("site_id"), TimeDimension(TimeUnit.MONTH)),
        (COUNT, Product((Factor("Cores"),), Span.RUNTIME), Extreme(Column.STOP_TIME, latest=True)),
    ),
    "scores by week": TotalQuestion(
        Question(ALL, runtime=(Bound(Op.LT, 250),)),
        (TimeDimension(TimeUnit.WEEK), MetaDimension("group")),
        (Product((Factor("Cores", ("HS",)), Factor("WallTime"))), Extreme(Column.START_TIME, latest=False)),
    ),
    "fields": TotalQuestion(
        Question(Scope(((Rule("site_id", ("S1", "A")),),))),
        (FieldDimension(Column.RUNTIME), AmountDimension("WallTime"), TimeDimension(TimeUnit.DAY, Column.START_TIME)),
        (COUNT, Product((), Span.DURATION), Product((), Span.RUNTIME)),
    ),
    "more than 128 bits": TotalQuestion(
        Question(ALL), (), (COUNT, Product((Factor(HOSTILE[1]), Factor(HOSTILE[1]), Factor(HOSTILE[1])), Span.DURATION))
    ),
    "one": TotalQuestion(Question(ALL, record_id="slurm-12"), (FieldDimension(Column.RECORD_ID), MetaDimension("x"))),
    "times": TotalQuestion(
        Question(ALL), (FieldDimension(Column.STOP_TIME), MetaDimension("group")), (Product((Factor("Cores"),)),)
    ),
    "no groups": TotalQuestion(Question(ALL), (), (COUNT,)),
    "year and note": TotalQuestion(Question(ALL), (TimeDimension(TimeUnit.YEAR), MetaDimension("note"))),
}


@pytest.mark.parametrize("asked", TOTALS, ids=str)
def test_totals_are_those_of_a_store_without_archive(read: ArchivingStore, plain: ArchivingStore, asked: str) -> None:
    assert read.totals(TOTALS[asked]) == plain.totals(TOTALS[asked])


def test_an_archived_record_is_found_by_its_id_within_the_scope(read: ArchivingStore) -> None:
    wanted = next(one for one in mixed() if one.record_id == "slurm-12")
    assert read.one("slurm-12", ALL) == encode_record(wanted)
    assert read.one("slurm-12", Scope(((Rule("site_id", ("S0",)),),))) == encode_record(wanted)
    assert read.one("slurm-12", Scope(((Rule("site_id", ("S1",)),),))) is None


def test_every_archived_record_sent_again_is_the_same_and_another_is_a_conflict(half: ArchivingStore) -> None:
    assert set(half.put(mixed())) == {Stored.SAME}
    changed = [replace(one, components=(*one.components, Component("More", 1, ()))) for one in mixed()]
    assert set(half.put(changed)) == {Stored.CONFLICT}
    assert half.put([job("new", at(1)), job("slurm-1", at(1)), job("new2", at(70))]) == [
        Stored.NEW,
        Stored.CONFLICT,
        Stored.NEW,
    ]
    assert half.counts() == {"": len(mixed()) + 2}


def test_a_stop_brings_an_archived_record_back(half: ArchivingStore, tmp_path: Path) -> None:
    stop = at(2)
    answers = half.stop([RecordStop("slurm-12", stop), RecordStop("nobody", stop), RecordStop("slurm-13", at(-400))])
    assert answers == [Stopped.DONE, Stopped.UNKNOWN, Stopped.BEFORE_START]
    assert {"slurm-12"} == hot_ids(half) & {"slurm-12", "slurm-13"}
    assert half.counts() == {"": len(mixed())}
    assert b'"stop_time":"2025-04-03T00:00:00Z"' in (half.one("slurm-12", ALL) or b"")
    assert [line for line in lines(half, Question(ALL)) if b'"slurm-12"' in line] == [half.one("slurm-12", ALL)]
    assert half.counts("site") == _by_site()
    archived(half, tmp_path / "archive")
    assert "slurm-12" not in hot_ids(half)
    assert half.counts() == {"": len(mixed())}
    assert b'"stop_time":"2025-04-03T00:00:00Z"' in (half.one("slurm-12", ALL) or b"")
    assert half.put([next(one for one in mixed() if one.record_id == "slurm-12")]) == [Stored.CONFLICT]


def _by_site() -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in mixed():
        for value in set((one.meta or {}).get("site_id", ()) + (one.meta or {}).get("site", ())):
            counts[value] = counts.get(value, 0) + 1
    return counts


def test_a_late_record_gets_a_further_file_of_its_month(half: ArchivingStore, tmp_path: Path) -> None:
    assert archived(half, tmp_path / "archive") == []
    half.put([job("late", at(4))])
    [moved] = archived(half, tmp_path / "archive")
    assert (moved.month, moved.records) == ("2025-04", 1)
    assert half.one("late", ALL) is not None
    assert half.put([job("late", at(4))]) == [Stored.SAME]


def test_a_file_brought_back_is_in_the_database_again_once(
    half: ArchivingStore, plain: ArchivingStore, tmp_path: Path
) -> None:
    half.stop([RecordStop("slurm-12", at(2))])
    with half.shelf() as shelf:
        for file in listed(shelf):
            assert bring_back(shelf, file) == file.records - len(file.recalled)
        assert listed(shelf) == []
    assert len(hot_ids(half)) == len(mixed())
    assert half.put(mixed()[20:30]) == [Stored.SAME] * 10
    expected = [line for line in lines(plain, Question(ALL)) if b'"slurm-12"' not in line]
    assert [line for line in lines(half, Question(ALL)) if b'"slurm-12"' not in line] == expected
    archived(half, tmp_path / "archive")
    assert [line for line in lines(half, Question(ALL)) if b'"slurm-12"' not in line] == expected


def test_another_process_finds_what_one_has_archived(database_url: str, tmp_path: Path) -> None:
    first, second = open_store(database_url), open_store(database_url)
    try:
        first.put(mixed())
        assert second.put(mixed()[:5]) == [Stored.SAME] * 5
        archived(first, tmp_path)
        assert second.put(mixed()) == [Stored.SAME] * len(mixed())
        assert second.one("slurm-1", ALL) is not None
        assert second.counts() == {"": len(mixed())}
    finally:
        first.close()
        second.close()


def test_two_cannot_move_records_at_once(store: ArchivingStore, database_url: str) -> None:
    other = open_store(database_url)
    try:
        with store.shelf(), pytest.raises(ArchiveBusy), other.shelf():
            pass
        with other.shelf():
            pass
    finally:
        other.close()


def test_a_missing_file_is_no_shorter_answer(half: ArchivingStore) -> None:
    with half.shelf() as shelf:
        files = listed(shelf)
    Path(files[-1].path).rename(files[-1].path + ".away")
    with pytest.raises(StoreUnavailable, match="missing"):
        lines(half, Question(ALL))
    young = Question(ALL, stop_time=(Bound(Op.GTE, microseconds(at(31))),))
    assert lines(half, young)


def test_a_broken_file_is_no_shorter_answer(half: ArchivingStore) -> None:
    with half.shelf() as shelf:
        path = Path(listed(shelf)[1].path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(StoreUnavailable):
        lines(half, Question(ALL))


def test_a_folder_that_has_moved_is_found_by_its_setting(
    database_url: str, tmp_path: Path, plain: ArchivingStore
) -> None:
    first = open_store(database_url)
    first.put(mixed())
    archived(first, tmp_path / "old")
    first.close()
    (tmp_path / "old").rename(tmp_path / "new")
    second = open_store(database_url, archive_folder=tmp_path / "new")
    try:
        assert lines(second, Question(ALL)) == lines(plain, Question(ALL))
    finally:
        second.close()


def test_a_reader_keeps_its_view_while_records_are_archived(
    store: ArchivingStore, plain: ArchivingStore, tmp_path: Path
) -> None:
    store.put(mixed())
    stream = store.stream(Question(ALL))
    first = next(stream)
    archived(store, tmp_path)
    assert first + b"".join(stream) == b"".join(plain.stream(Question(ALL)))


def test_files_of_others_are_left_alone(store: ArchivingStore, tmp_path: Path) -> None:
    theirs = tmp_path / "jobmeter_2025_04.parquet"
    theirs.write_bytes(b"theirs")
    store.put([job("a", at(1))])
    [moved] = archived(store, tmp_path)
    assert moved.path.name == "jobmeter_2025_04_2.parquet"
    assert theirs.read_bytes() == b"theirs"


@pytest.mark.parametrize("compression", ["zstd", "Gzip", "Snappy"])
def test_every_compression_gives_the_same_back(
    store: ArchivingStore, plain: ArchivingStore, tmp_path: Path, compression: str
) -> None:
    store.put(mixed())
    archived(store, tmp_path, compression=compression)
    assert lines(store, Question(ALL)) == lines(plain, Question(ALL))


def test_a_record_that_changes_while_its_file_is_written_is_not_lost(store: ArchivingStore, tmp_path: Path) -> None:
    store.put([job(f"r{number}", at(number)) for number in range(5)])
    seen: list[str] = []

    def step(name: str) -> None:
        seen.append(name)
        if name == "named" and seen.count("named") == 1:
            store.stop([RecordStop("r2", at(2) + timedelta(minutes=1))])

    with store.shelf() as shelf:
        [moved] = archive_old(shelf, Plan(tmp_path, 1), NOW, step)
    assert moved.records == 5
    assert seen.count("read") == 2
    assert b"2025-04-03T00:01:00Z" in (store.one("r2", ALL) or b"")
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    assert store.counts() == {"": 5}


def test_what_came_while_a_file_was_written_stays_for_the_next(store: ArchivingStore, tmp_path: Path) -> None:
    store.put([job(f"r{number}", at(number)) for number in range(5)])

    def step(name: str) -> None:
        if name == "named":
            store.put([job("between", at(2.5))])

    with store.shelf() as shelf:
        moved = list(archive_old(shelf, Plan(tmp_path, 1), NOW, step))
    assert [one.records for one in moved] == [5, 1]
    assert [b'"between"' in line for line in lines(store, Question(ALL))].index(True) == 3
