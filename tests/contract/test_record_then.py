"""Questions about an instant, over both databases: what the account said then, whatever became of it since."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy
from msgspec.structs import replace

from jobmeter.model.question import MetaCondition, Order, Question, Rule, Scope
from jobmeter.model.record import RecordStop
from jobmeter.model.total import COUNT, Factor, MetaDimension, Product, TotalQuestion
from jobmeter.model.version import Edit
from jobmeter.store.archive.moving import bring_back
from jobmeter.store.open import ArchivingStore
from tests.given import ALL, decoded, ids, record, second
from tests.store.archive.material import archived, hot_ids

EDIT = Edit("officer", "wrong site")
SUMS = (COUNT, Product((Factor("Cores"),)))


@pytest.fixture(params=["in the database", "archived before", "archived since"])
def told(request: pytest.FixtureRequest, store: ArchivingStore, tmp_path: Path) -> ArchivingStore:
    """At 10 there are a to d, at 20 a is corrected, at 30 b is withdrawn, at 40 c is stopped anew, at 50 e comes."""

    def archive(when: str) -> None:
        if request.param == when:
            archived(store, tmp_path / "archive", file_records=2)

    def at(moment_us: int) -> None:
        store.now = lambda: moment_us

    at(10)
    store.put([record(name, meta={"site_id": ("A",)}, components=(("Cores", 1),)) for name in "abcd"])
    archive("archived before")
    at(20)
    store.correct(record("a", meta={"site_id": ("B",)}, components=(("Cores", 10),)), EDIT)
    at(30)
    store.withdraw("b", EDIT)
    at(40)
    store.stop([RecordStop("c", second(100))])
    at(50)
    store.put([record("e", meta={"site_id": ("A",)}, components=(("Cores", 5),))])
    archive("archived since")
    return store


THEN = {
    9: {},
    10: {"A": (4, 4)},
    19: {"A": (4, 4)},
    20: {"A": (3, 3), "B": (1, 10)},
    29: {"A": (3, 3), "B": (1, 10)},
    30: {"A": (2, 2), "B": (1, 10)},
    49: {"A": (2, 2), "B": (1, 10)},
    50: {"A": (3, 7), "B": (1, 10)},
}


def test_totals_and_records_are_those_of_the_instant(told: ArchivingStore) -> None:
    for moment_us in THEN:
        look_back(told, moment_us)


def look_back(told: ArchivingStore, moment_us: int) -> None:
    question = TotalQuestion(Question(ALL, as_of_us=moment_us), (MetaDimension("site_id"),), SUMS)
    totals = {total.key[0]: tuple(one.value for one in total.measured) for total in told.totals(question)}
    assert totals == THEN[moment_us]
    for site in "AB":
        count = THEN[moment_us].get(site, (0, 0))[0]
        assert len(ids(told, meta=(MetaCondition("site_id", (site,)),), as_of_us=moment_us)) == count
        assert len(ids(told, Scope(((Rule("site_id", (site,)),),)), as_of_us=moment_us)) == count


def test_one_record_is_as_it_was(told: ArchivingStore) -> None:
    def then(name: str, moment_us: int, scope: Scope = ALL) -> dict[str, object] | None:
        body = told.one(name, scope, moment_us)
        return None if body is None else decoded(body)

    assert [then("a", moment_us) is None for moment_us in (9, 10)] == [True, False]
    assert [(then("a", moment_us) or {})["meta"] for moment_us in (19, 20)] == [{"site_id": ["A"]}, {"site_id": ["B"]}]
    assert [then("a", moment_us, Scope(((Rule("site_id", ("B",)),),))) is None for moment_us in (19, 20)] == [
        True,
        False,
    ]
    assert [then("b", moment_us) is None for moment_us in (29, 30)] == [False, True]
    assert [(then("c", moment_us) or {})["runtime"] for moment_us in (39, 40)] == [10, 100]
    assert [then("e", moment_us) is None for moment_us in (49, 50)] == [True, False]


@pytest.mark.parametrize("descending", [False, True])
def test_pages_of_an_instant_follow_one_another(told: ArchivingStore, descending: bool) -> None:
    for moment_us, expected in ((29, "abcd"), (39, "acd"), (45, "acd")):
        question = Question(ALL, order=Order(descending=descending), limit=1, as_of_us=moment_us)
        found = []
        while True:
            page = told.page(question, 1_000_000)
            found += [decoded(body)["record_id"] for body in page.bodies]
            if page.last is None:
                break
            question = replace(question, after=page.last)
        assert found == ids(told, order=Order(descending=descending), as_of_us=moment_us)
        assert sorted(found) == [*expected]


def test_what_is_brought_back_from_the_archive_still_says_since_when(told: ArchivingStore) -> None:
    with told.shelf() as shelf:
        for file in told.archived_files():
            bring_back(shelf, file)
    assert hot_ids(told) == {"a", "c", "d", "e"}
    assert [len(ids(told, as_of_us=moment_us)) for moment_us in THEN] == [0, 4, 4, 4, 4, 3, 3, 4]


@pytest.mark.parametrize(("named", "counts_from_us"), [(5, 5_000_000), (1, 9_000_000), (99, 9_000_000)])
def test_a_change_counts_from_the_moment_that_it_names_unless_that_cannot_be(
    store: ArchivingStore, named: int, counts_from_us: int
) -> None:
    store.now = lambda: 2_000_000
    store.put([record("r")])
    before = store.one("r", ALL)
    store.now = lambda: 9_000_000
    store.correct(record("r", meta={}), replace(EDIT, at=second(named)))
    assert store.one("r", ALL, counts_from_us - 1) == before
    assert store.one("r", ALL, counts_from_us) == store.one("r", ALL) != before


def test_a_clock_that_goes_back_leaves_one_state_at_any_instant(store: ArchivingStore) -> None:
    store.now = lambda: 100
    store.put([record("r")])
    store.now = lambda: 50
    store.correct(record("r", meta={}), EDIT)
    assert [len(ids(store, as_of_us=moment_us)) for moment_us in (49, 50, 99, 100)] == [0, 0, 0, 1]
    assert store.one("r", ALL, 100) == store.one("r", ALL)
    assert store.check_versions() == []


def test_records_of_whom_nobody_knows_since_when_they_are_there_always_were(
    store: ArchivingStore, database_url: str, tmp_path: Path
) -> None:
    store.put([record("old"), record("changed"), record("gone")])
    engine = sqlalchemy.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE records SET since_us = NULL"))
    engine.dispose()
    archived(store, tmp_path / "archive")
    store.now = lambda: 10
    store.correct(record("changed", meta={}), EDIT)
    store.withdraw("gone", EDIT)
    assert ids(store, as_of_us=9) == ["old", "changed", "gone"]
    assert ids(store, as_of_us=10) == ["old", "changed"]
    assert store.check_versions() == []


def test_since_when_a_version_held_is_in_the_chain(store: ArchivingStore, database_url: str) -> None:
    store.put([record("r")])
    store.withdraw("r", EDIT)
    engine = sqlalchemy.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE versions SET until_us = until_us + 1"))
    engine.dispose()
    assert store.check_versions() != []
