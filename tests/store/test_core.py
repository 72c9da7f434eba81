"""What is stored of a record is less than its body, and the body that is read is the same byte by byte."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobmeter.model.outcome import Stored
from jobmeter.model.question import Question, Scope
from jobmeter.model.record import Component, Record, Score, microseconds
from jobmeter.store import migrations
from jobmeter.store.core import core_in, cores_of
from jobmeter.store.migrate import upgrade
from jobmeter.store.open import ArchivingStore, open_store
from jobmeter.store.row import batch_of, key_of
from jobmeter.wire.auditor import encode_record
from tests.postgresql import PrivatePostgresql
from tests.wire.test_properties import records

ALL = Scope.everything()
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def plain(record_id: str, start: datetime = NOON, stop: datetime | None = NOON + timedelta(hours=1)) -> Record:
    return Record(record_id, (Component("Cores", 8, (Score("HS23", 13.5),)),), start, {"site_id": ("Å {}",)}, stop)


ODD = [
    plain("plain"),
    plain("running", stop=None),
    plain('a "quoted" id'),
    plain("a \\ in the id"),
    plain("Grüße"),
    plain("x" * 256),
    plain("\U0001f469\u200d\U0001f469\u200d\U0001f467" * 200),
    plain("fraction of the start", NOON + timedelta(microseconds=1)),
    plain("fraction of the stop", stop=NOON + timedelta(seconds=1, milliseconds=5)),
    plain("before 1970", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    plain("the year 1", datetime(1, 1, 1, tzinfo=UTC)),
    plain("1970", datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)),
    plain("the last second", stop=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    plain("a leap day", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
    Record("nothing", (), NOON),
    Record("backslash", (Component("a\\b", 1, ()),), NOON, {'"': ("\\", "\x7f\u2028")}),
]


def core(record: Record) -> bytes:
    stop_us = None if record.stop_time is None else microseconds(record.stop_time)
    return cores_of([record], [key_of(record.record_id)], [microseconds(record.start_time)], [stop_us])[0]


@given(records() | st.sampled_from(ODD))
def test_the_core_of_a_record_is_that_of_its_body(record: Record) -> None:
    stop_us = None if record.stop_time is None else microseconds(record.stop_time)
    body = encode_record(record)
    assert core(record) == core_in(body, key_of(record.record_id), microseconds(record.start_time), stop_us)


@pytest.mark.parametrize("record", ODD, ids=lambda record: record.record_id[:20])
def test_ordinary_records_are_cut_and_others_kept_whole(record: Record) -> None:
    ordinary = {"plain", "running", "x" * 256, "1970", "the last second", "a leap day", "nothing", "backslash"}
    assert core(record).startswith(b'"meta":') is (record.record_id in ordinary)
    assert core(record) in encode_record(record)


@given(st.lists(records() | st.sampled_from(ODD), max_size=5))
def test_cores_of_many_are_those_of_each(many: list[Record]) -> None:
    assert list(batch_of(many).cores) == [core(record) for record in many]


def test_bodies_come_back_byte_by_byte(store: ArchivingStore) -> None:
    assert store.put(ODD) == [Stored.NEW] * len(ODD)
    assert store.put(ODD) == [Stored.SAME] * len(ODD)
    found = b"".join(store.stream(Question(ALL))).splitlines()
    assert sorted(found) == sorted(map(encode_record, ODD))
    for record in ODD:
        assert store.one(record.record_id, ALL) == encode_record(record)


@settings(suppress_health_check=list(HealthCheck), max_examples=60, deadline=None)
@given(records())
def test_any_body_comes_back_byte_by_byte(store: ArchivingStore, record: Record) -> None:
    store.put([record])
    held = store.one(record.record_id, ALL)
    if store.put([record]) == [Stored.SAME]:
        assert held == encode_record(record)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_records_of_an_older_schema_are_cut_when_it_is_migrated(
    kind: str, postgresql: PrivatePostgresql, tmp_path: Path
) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/store.sqlite"
        engine = sqlalchemy.create_engine(url)
    else:
        url = postgresql.new_database(empty=True)
        engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrations.__path__[0]))
        config.attributes["connection"] = connection
        command.upgrade(config, "0012")
        insert = "INSERT INTO records (start_us, stop_us, record_id, body) VALUES (:start, :stop, :key, :body)"
        for record in ODD:
            stop_us = None if record.stop_time is None else microseconds(record.stop_time)
            values = {"start": microseconds(record.start_time), "stop": stop_us, "key": key_of(record.record_id)}
            connection.execute(sqlalchemy.text(insert), {**values, "body": encode_record(record).decode()})
    engine.dispose()
    assert len(upgrade(url)) >= 1
    store = open_store(url)
    try:
        assert store.put(ODD) == [Stored.SAME] * len(ODD)
        found = b"".join(store.stream(Question(ALL))).splitlines()
        assert sorted(found) == sorted(map(encode_record, ODD))
    finally:
        store.close()
