"""Any sequence of writes and questions gives what a dictionary would give."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from jobmeter.model.conflict import Conflict, Decision
from jobmeter.model.outcome import Stored
from jobmeter.model.question import (
    Bound,
    Column,
    ComponentCondition,
    MetaCondition,
    Op,
    Order,
    Question,
    Rule,
    Scope,
    ScoreBound,
    ScoreCondition,
)
from jobmeter.model.record import EPOCH, Component, Record, RecordStop, Score
from jobmeter.model.total import (
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
from jobmeter.model.version import Changed, Edit
from jobmeter.store.archive.moving import Plan, archive_old, bring_back
from jobmeter.store.conflicts import Conflicts
from jobmeter.store.open import ArchivingStore, open_store
from jobmeter.store.row import record_of
from jobmeter.wire.auditor import encode_record
from tests.given import decoded, lines
from tests.plain_totals import plain_totals
from tests.postgresql import PrivatePostgresql
from tests.store.plain import PlainStore

# Few different names, so that they meet; some that a careless statement would trip over.
names = st.sampled_from(["a", "A", "b", "ä\u0301", "'", '"', "\\", "a.b", "$[0]", "%s", "\x01", "null"]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6
)
facet_keys = st.sampled_from(["site_id", "site", "group_id", "user"])
keys = st.sampled_from(["site_id", "site", "group_id", "user", "k"]) | names
moments = st.integers(-2, 6).map(lambda half: EPOCH + timedelta(milliseconds=500 * half))
amounts = st.sampled_from([0, 1, 2, 2**31, 2**63 - 1])
scores = st.builds(Score, names, st.floats(0, 1e300))
components = st.builds(Component, names, amounts, st.lists(scores, max_size=1).map(tuple))
records = st.builds(
    lambda name, parts, start, meta, runtime: Record(
        name, parts, start, meta, None if runtime is None else start + timedelta(milliseconds=700 * runtime)
    ),
    names,
    st.lists(components, max_size=3).map(tuple),
    moments,
    st.none() | st.dictionaries(keys, st.lists(names, max_size=3).map(tuple), max_size=4),
    st.none() | st.integers(0, 5),
)
operators = st.sampled_from(list(Op))
time_bounds = st.lists(
    st.builds(Bound, operators, st.integers(-2, 12).map(lambda half: half * 500_000) | st.just(2**70)), max_size=2
)
amount_bounds = st.lists(st.builds(Bound, operators, amounts | st.just(2**64)), max_size=2).map(tuple)
score_bounds = st.lists(st.builds(ScoreBound, operators, st.floats(0, 1e300)), max_size=2).map(tuple)
values = st.lists(names, max_size=2).map(tuple)
groups = st.lists(st.builds(Rule, keys, values), min_size=1, max_size=2).map(tuple)
rules = st.lists(groups, max_size=2).map(tuple)
questions = st.builds(
    Question,
    scope=st.builds(Scope, st.none() | rules),
    record_id=st.none() | names,
    start_time=time_bounds.map(tuple),
    stop_time=time_bounds.map(tuple),
    runtime=st.lists(st.builds(Bound, operators, st.integers(-1, 4)), max_size=1).map(tuple),
    meta=st.lists(st.builds(MetaCondition, keys, values, values), max_size=2).map(tuple),
    components=st.lists(st.builds(ComponentCondition, names, amount_bounds), max_size=1).map(tuple),
    scores=st.lists(st.builds(ScoreCondition, names, score_bounds), max_size=1).map(tuple),
    order=st.builds(Order, st.sampled_from(list(Column)), st.booleans()),
    limit=st.none() | st.integers(0, 5),
)
ends = st.sampled_from([Column.START_TIME, Column.STOP_TIME])
dimensions = (
    st.builds(MetaDimension, keys)
    | st.builds(TimeDimension, st.sampled_from(TimeUnit), ends)
    | st.builds(FieldDimension, st.sampled_from(Column))
    | st.builds(AmountDimension, names)
)
factors = st.builds(Factor, names, st.lists(names, max_size=1).map(tuple))
measures = st.builds(Extreme, ends, st.booleans()) | st.builds(
    Product, st.lists(factors, max_size=2).map(tuple), st.none() | st.sampled_from(Span)
)
total_questions = st.builds(
    TotalQuestion,
    st.just(Question(Scope.everything())) | questions,
    st.lists(dimensions, max_size=3).map(tuple),
    st.lists(measures, max_size=3).map(tuple),
)
# Questions that the rollups can answer: whole months, facets, at most one component.
month_starts = st.sampled_from([0, 31 * 86_400_000_000, -31 * 86_400_000_000])
facet_rules = st.builds(Rule, facet_keys, values)
rolled_questions = st.builds(
    TotalQuestion,
    st.builds(
        Question,
        scope=st.builds(
            Scope,
            st.none() | st.lists(st.builds(Rule, facet_keys, values).map(lambda rule: (rule,)), max_size=2).map(tuple),
        ),
        stop_time=st.lists(st.builds(Bound, st.sampled_from([Op.GTE, Op.LT]), month_starts), max_size=2).map(tuple),
        meta=st.lists(st.builds(MetaCondition, facet_keys, values, values), max_size=1).map(tuple),
    ),
    st.lists(
        st.builds(MetaDimension, facet_keys)
        | st.builds(TimeDimension, st.sampled_from([TimeUnit.MONTH, TimeUnit.YEAR])),
        max_size=3,
    ).map(tuple),
    st.lists(
        st.builds(Product, st.lists(factors, max_size=1).map(tuple), st.sampled_from([None, Span.RUNTIME]))
        | st.just(Product(span=Span.DURATION)),
        max_size=3,
    ).map(tuple),
)
# Few questions about whole days, asked again and again: sums of days are kept of them.
day_us = 86_400_000_000
day_questions = st.builds(
    TotalQuestion,
    st.builds(
        Question,
        scope=st.just(Scope.everything()),
        stop_time=st.sampled_from(
            [(-day_us, day_us), (0, day_us), (-day_us, day_us + 1), (-1, day_us), (0, 1_400_000)]
        ).map(lambda stretch: (Bound(Op.GTE, stretch[0]), Bound(Op.LT, stretch[1]))),
        runtime=st.sampled_from([(), (Bound(Op.GT, 0),)]),
    ),
    st.sampled_from([(), (MetaDimension("site_id"),), (MetaDimension("k"),)]),
    st.sampled_from(
        [
            (Product(), Product((Factor("a"),))),
            (Product((Factor("a", ("a",)),), Span.RUNTIME), Extreme(Column.STOP_TIME, latest=True)),
        ]
    ),
)
orders = st.builds(Order, st.sampled_from(list(Column)), st.booleans())


EDIT = Edit("somebody", "some reason", EPOCH)
FIRST_US = 1_000_000_000
ago = st.none() | st.integers(-1, 12)
"""How many microseconds before the present moment of the machine; None: no moment is named."""


class Machine(RuleBasedStateMachine):
    """One store and one dictionary, told and asked the same.

    Its clock goes on by 0 to 2 microseconds after each write.
    """

    def open(self, folder: Path) -> tuple[ArchivingStore, str]:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.store, url = self.open(Path(self._folder.name))
        self.conflicts = Conflicts(url)
        self.store.now = lambda: self.now_us
        self.store.counted.choose(["k", "site_id"])
        self.now_us = FIRST_US
        self.plain = PlainStore()

    @rule(batch=st.lists(records, max_size=6))
    def put(self, batch: list[Record]) -> None:
        outcomes = self.store.put(batch)
        assert outcomes == self.plain.put(batch)
        found = [record for record, outcome in zip(batch, outcomes, strict=True) if outcome is Stored.CONFLICT]
        self.conflicts.keep([Conflict(record.record_id, encode_record(record), "", EPOCH) for record in found])
        self._done()

    @rule(stops=st.lists(st.builds(RecordStop, names, moments), max_size=3))
    def stop(self, stops: list[RecordStop]) -> None:
        assert self.store.stop(stops) == self.plain.stop(stops)
        self._done()

    @rule(record=records)
    def correct(self, record: Record) -> None:
        assert self.store.correct(record, EDIT) is self.plain.correct(record, EDIT)
        self._done()

    @rule(name=names)
    def withdraw(self, name: str) -> None:
        assert self.store.withdraw(name, EDIT) is self.plain.withdraw(name, EDIT)
        self._done()

    @precondition(lambda self: self.plain.records)
    @rule(at=st.integers(0, 30), record=records)
    def correct_one(self, at: int, record: Record) -> None:
        stored = [*self.plain.records]
        self.correct(replace(record, record_id=stored[at % len(stored)]))

    @precondition(lambda self: self.plain.records)
    @rule(at=st.integers(0, 30))
    def withdraw_one(self, at: int) -> None:
        stored = [*self.plain.records]
        self.withdraw(stored[at % len(stored)])

    @precondition(lambda self: self.plain.records)
    @rule(at=st.integers(0, 30), record=records, decision=st.sampled_from(Decision))
    def dispute(self, at: int, record: Record, decision: Decision) -> None:
        """Another record of a stored one's id is sent, and decided about."""
        stored = [*self.plain.records]
        record = replace(record, record_id=stored[at % len(stored)])
        self.put([record])
        for conflict in self.conflicts.find(0, 100):
            sent = record_of(conflict.body)
            if decision is Decision.TAKE:
                changed = self.store.correct(sent, EDIT)
                assert changed is self.plain.correct(sent, EDIT)
                assert (changed is Changed.UNKNOWN) is (sent.record_id in self.plain.withdrawn)
                self._done()
            assert self.conflicts.decide(conflict.number or 0, decision, EDIT)
        assert self.conflicts.find(0, 1) == []

    @rule(file_records=st.integers(1, 5))
    def archive(self, file_records: int) -> None:
        plan = Plan(Path(self._folder.name) / "archive", 1, file_records=file_records)
        with self.store.shelf() as shelf:
            list(archive_old(shelf, plan, EPOCH + timedelta(days=100)))

    @rule()
    def bring_back(self) -> None:
        with self.store.shelf() as shelf:
            for file in self.store.archived_files()[:2]:
                bring_back(shelf, file)

    def _done(self) -> None:
        self.plain.note(self.now_us)
        self.now_us += len(self.plain.past) % 3

    def _of(self, ago_us: int | None) -> int | None:
        return None if ago_us is None else self.now_us - ago_us

    @rule(question=questions, ago_us=ago)
    def ask(self, question: Question, ago_us: int | None) -> None:
        self._compare(replace(question, as_of_us=self._of(ago_us)))

    @rule(ago_us=st.integers(-1, 30), order=orders)
    def ask_of_then(self, ago_us: int, order: Order) -> None:
        moment_us = self.now_us - ago_us
        self._compare(Question(Scope.everything(), as_of_us=moment_us, order=order))
        for record in {**self.plain.records, **self.plain.withdrawn}.values():
            found = self.plain.at(moment_us).get(record.record_id)
            body = self.store.one(record.record_id, Scope.everything(), moment_us)
            assert body == (None if found is None else encode_record(found))

    @rule(key=keys, contains=values, lacks=values, order=orders, ago_us=ago)
    def ask_meta(
        self, key: str, contains: tuple[str, ...], lacks: tuple[str, ...], order: Order, ago_us: int | None
    ) -> None:
        condition = MetaCondition(key, contains, lacks)
        self._compare(Question(Scope.everything(), meta=(condition,), order=order, as_of_us=self._of(ago_us)))

    @rule(name=names, bounds=amount_bounds, order=orders)
    def ask_component(self, name: str, bounds: tuple[Bound, ...], order: Order) -> None:
        self._compare(Question(Scope.everything(), components=(ComponentCondition(name, bounds),), order=order))

    @rule(allowed=rules, order=orders)
    def ask_scope(self, allowed: tuple[tuple[Rule, ...], ...], order: Order) -> None:
        self._compare(Question(Scope(allowed), order=order))
        for record in self.plain.records.values():
            seen = self.store.one(record.record_id, Scope(allowed)) is not None
            assert seen == bool(self.plain.answer(Question(Scope(allowed), record_id=record.record_id)))

    @rule(bounds=time_bounds, order=orders)
    def ask_times(self, bounds: list[Bound], order: Order) -> None:
        self._compare(Question(Scope.everything(), stop_time=tuple(bounds), order=order))

    @rule(question=total_questions | rolled_questions, ago_us=ago)
    def ask_totals(self, question: TotalQuestion, ago_us: int | None) -> None:
        question = replace(question, where=replace(question.where, as_of_us=self._of(ago_us)))
        where = replace(question.where, order=Order(), limit=None)
        assert self.store.totals(question) == plain_totals(self.plain.answer(where), question)

    @rule(question=rolled_questions)
    def ask_rolled_totals(self, question: TotalQuestion) -> None:
        assert self.store.totals(question) == plain_totals(self.plain.answer(question.where), question)

    @rule(question=day_questions, folded=st.booleans())
    def ask_totals_of_days(self, question: TotalQuestion, folded: bool) -> None:
        while folded and self.store.fold():
            pass
        for _ in range(2):
            assert self.store.totals(question) == plain_totals(self.plain.answer(question.where), question)

    @rule(batches=st.integers(1, 3))
    def fold(self, batches: int) -> None:
        self.store.fold(batches)

    @rule()
    def rebuild(self) -> None:
        self.store.rebuild_rollups()

    @rule(more=keys)
    def count_by(self, more: str) -> None:
        self.store.counted.choose({"k", more})

    @rule()
    def check_rollups(self) -> None:
        assert self.store.check_rollups() == []
        assert self.store.check_versions() == []
        assert self.store.counts()[""] == len(self.plain.records)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self._compare(Question(Scope.everything()))
            for moment_us in {moment_us for moment_us, _ in self.plain.past}:
                then = Question(Scope.everything(), as_of_us=moment_us)
                self._compare(then)
                counted = TotalQuestion(then, ())
                assert self.store.totals(counted) == plain_totals(self.plain.answer(then), counted)
            self.check_rollups()
            self.store.close()
            self.conflicts.close()
            self._folder.cleanup()

    def _compare(self, question: Question) -> None:
        expected = [decoded(encode_record(record)) for record in self.plain.answer(question)]
        assert [decoded(line) for line in lines(self.store, question)] == expected


def run(kind: type[Machine], *, examples: int, steps: int) -> None:
    """Try `examples` sequences of `steps`."""
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(autouse=True)
def sums_of_days_are_kept_of_few_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobmeter.store.day_sums.RECORDS_A_DAY", 0)


def test_sqlite_answers_as_a_dictionary_would(sqlite_template: Path) -> None:
    class OnSqlite(Machine):
        def open(self, folder: Path) -> tuple[ArchivingStore, str]:
            shutil.copy(sqlite_template, folder / "store.sqlite")
            url = f"sqlite:///{folder}/store.sqlite"
            return open_store(url), url

    run(OnSqlite, examples=40, steps=30)


def test_postgresql_answers_as_a_dictionary_would(postgresql: PrivatePostgresql) -> None:
    class OnPostgresql(Machine):
        def open(self, folder: Path) -> tuple[ArchivingStore, str]:
            del folder
            url = postgresql.new_database()
            return open_store(url), url

    run(OnPostgresql, examples=12, steps=25)
