"""Changes of stored records, over both databases: nothing that was stored is lost, and everything follows."""

from __future__ import annotations

import pytest
import sqlalchemy
from msgspec.structs import replace

from jobmeter.contract import RecordStore
from jobmeter.model.outcome import Stored
from jobmeter.model.question import Question
from jobmeter.model.record import RecordStop
from jobmeter.model.total import MetaDimension, TotalQuestion
from jobmeter.model.version import Changed, ChangeKind, Edit
from jobmeter.wire.auditor import encode_record
from tests.given import ALL, ids, record, second

EDIT = Edit("officer", "wrong site", second(1000))
OLD = record("r", meta={"site_id": ("A",)}, components=(("Cores", 2),))
NEW = record("r", meta={"site_id": ("B",)}, components=(("Cores", 4),), stop=20)


def sites(store: RecordStore) -> dict[object, object]:
    question = TotalQuestion(Question(ALL), (MetaDimension("site_id"),))
    return {total.key[0]: total.measured[0].value for total in store.totals(question)}


@pytest.fixture(params=["pending", "folded"])
def filled(request: pytest.FixtureRequest, store: RecordStore) -> RecordStore:
    """A store with OLD and one more record, which are in the rollups or are not yet."""
    store.put([OLD, record("other", meta={"site_id": ("A",)})])
    while request.param == "folded" and store.fold():
        pass
    return store


def test_a_correction_replaces_the_record_and_keeps_what_it_was(filled: RecordStore) -> None:
    assert filled.correct(NEW, EDIT) is Changed.DONE
    assert filled.one("r", ALL) == encode_record(NEW)
    (version,) = filled.versions("r")
    assert (version.number, version.body, version.ended, version.edit) == (
        1,
        encode_record(OLD),
        ChangeKind.CORRECTED,
        EDIT,
    )
    assert sites(filled) == {"A": 1, "B": 1}
    assert filled.check_rollups() == []
    assert filled.check_versions() == []


def test_a_correction_that_says_nothing_new_changes_nothing(filled: RecordStore) -> None:
    assert filled.correct(OLD, EDIT) is Changed.SAME
    assert filled.versions("r") == []


def test_a_withdrawn_record_is_in_no_answer_and_its_id_stays_taken(filled: RecordStore) -> None:
    assert filled.withdraw("r", EDIT) is Changed.DONE
    assert filled.one("r", ALL) is None
    assert ids(filled) == ["other"]
    assert sites(filled) == {"A": 1}
    assert filled.counts()[""] == 1
    assert filled.put([OLD, NEW, record("third")]) == [Stored.SAME, Stored.CONFLICT, Stored.NEW]
    assert ids(filled) == ["other", "third"]
    assert [version.ended for version in filled.versions("r")] == [ChangeKind.WITHDRAWN]
    assert filled.check_rollups() == []
    assert filled.check_versions() == []


def test_what_is_not_there_cannot_be_changed(filled: RecordStore) -> None:
    assert filled.correct(record("none"), EDIT) is Changed.UNKNOWN
    assert filled.withdraw("none", EDIT) is Changed.UNKNOWN
    assert filled.withdraw("a\0b", EDIT) is Changed.UNKNOWN
    filled.withdraw("r", EDIT)
    assert filled.withdraw("r", EDIT) is Changed.UNKNOWN
    assert filled.correct(NEW, EDIT) is Changed.UNKNOWN
    assert filled.versions("a\0b") == []


def test_a_record_that_no_database_can_hold_corrects_nothing(filled: RecordStore) -> None:
    assert filled.correct(replace(NEW, meta={"a": ("\0",)}), EDIT) is Changed.REFUSED
    assert filled.one("r", ALL) == encode_record(OLD)


def test_a_stop_that_changes_something_is_a_version(filled: RecordStore) -> None:
    filled.stop([RecordStop("r", second(10), EDIT)])
    assert filled.versions("r") == []
    filled.stop([RecordStop("r", second(30), EDIT), RecordStop("r", second(40), EDIT)])
    filled.stop([RecordStop("r", second(50))])
    assert [(version.ended, version.edit) for version in filled.versions("r")] == [
        (ChangeKind.STOPPED, EDIT),
        (ChangeKind.STOPPED, Edit()),
    ]
    assert filled.check_versions() == []
    assert filled.check_rollups() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE versions SET why = 'another reason' WHERE no = 1",
        "UPDATE versions SET body = replace(body, '\"A\"', '\"Z\"') WHERE no = 1",
        "DELETE FROM versions WHERE no = 1",
        "UPDATE records SET core = replace(core, '\"B\"', '\"Z\"') WHERE record_id = 'r'",
    ],
)
def test_a_change_by_hand_is_found(filled: RecordStore, database_url: str, statement: str) -> None:
    filled.correct(replace(NEW, stop_time=second(15)), EDIT)
    filled.correct(NEW, EDIT)
    assert filled.check_versions() == []
    engine = sqlalchemy.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(statement))
    engine.dispose()
    assert filled.check_versions() != []
