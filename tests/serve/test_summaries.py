from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from jobmeter.contract import RecordStore
from jobmeter.model.access import Grant, Limits, Role
from jobmeter.model.job import JobIdentity
from jobmeter.model.summary import EnergySource, JobSummary
from jobmeter.model.token import Token
from jobmeter.serve.access import AccessSettings
from jobmeter.serve.joined import JoinRule, record_ids
from jobmeter.serve.secret import digest_of
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import Beside
from jobmeter.store.open import open_store
from jobmeter.store.summaries import Summaries
from jobmeter.store.tokens import Tokens
from tests.serve.live import JSON, Answer, Live, live, record
from tests.serve.test_samples import NOW

ONE = JobIdentity("slurm", "c1", "4711")


def summary(job: JobIdentity = ONE, joules: float = 12.5) -> JobSummary:
    return JobSummary(job, ("n1",), 1, 2, 3, 4.0, 4.0, True, (), joules, EnergySource.RAPL)


@pytest.fixture
def kept(database_url: str) -> Iterator[RecordStore]:
    opened = open_store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def summaries(database_url: str, kept: RecordStore) -> Iterator[Summaries]:
    opened = Summaries(database_url)
    yield opened
    opened.close()


@pytest.fixture
def server(kept: RecordStore, summaries: Summaries) -> Iterator[Live]:
    with live(kept, beside=Beside(None, summaries)) as running:
        yield running


def found(server: Live, query: str) -> list[JobSummary]:
    answer = server.ask("GET", f"/v2/summaries?{query}")
    assert answer.status == 200, answer
    return msgspec.convert(answer.json()["summaries"], list[JobSummary])


def test_a_summary_belongs_to_its_record_whichever_comes_first(server: Live) -> None:
    early, late = summary(), summary(JobIdentity("slurm", "c1", "4712"))
    assert server.post("/v2/summaries", early).json() == {"accepted": 1}
    for number in ("4711", "4712"):
        assert server.post("/record", record(f"slurm-{number}")).status == 200
    assert server.post("/v2/summaries", [late]).json() == {"accepted": 1}
    assert found(server, "record_id=slurm-4711") == [early]
    assert found(server, "record_id=slurm-4712") == [late]
    assert found(server, "record_id=other") == []


def test_runs_are_told_apart_and_a_later_summary_replaces_an_earlier_one(server: Live) -> None:
    again = JobIdentity("slurm", "c1", "4711", 1)
    server.post("/v2/summaries", [summary(), summary(again), summary(joules=13)])
    assert [(one.job.run, one.joules) for one in found(server, "manager=slurm&job=4711")] == [(0, 13), (1, 12.5)]
    assert [one.job for one in found(server, "record_id=slurm-4711")] == [again]
    assert found(server, "manager=slurm&cluster=c2&job=4711") == []


@pytest.mark.parametrize("query", ["", "job=1", "manager=slurm", "record_id=a&job=1", "record_id=a&record_id=b", "x=1"])
def test_a_question_without_a_job_is_refused(server: Live, query: str) -> None:
    assert server.ask("GET", f"/v2/summaries?{query}").status == 400


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"job": "x"}'])
def test_what_is_no_summary_is_refused(server: Live, text: str) -> None:
    assert server.ask("POST", "/v2/summaries", text).status == 400


def test_a_reader_sees_summaries_of_the_records_it_sees(
    database_url: str, kept: RecordStore, summaries: Summaries
) -> None:
    tokens = Tokens(database_url)
    with live(
        kept, ServeSettings(access=AccessSettings(required=True)), tokens, beside=Beside(None, summaries)
    ) as server:

        def ask(method: str, path: str, role: Role, limits: Limits, value: object = None) -> Answer:
            secret = f"jobmeter_{len(tokens.all())}"
            tokens.add(Token("t", (Grant(frozenset({role}), limits),), NOW, None), digest_of(secret))
            text = None if value is None else msgspec.json.encode(value)
            return server.ask(method, path, text, {**JSON, "authorization": f"Bearer {secret}"})

        ask("POST", "/record", Role.WRITE, Limits(), record("slurm-4711", meta={"site_id": ["A"]}))
        other = ask("POST", "/v2/summaries", Role.WRITE_DOCUMENTS, Limits(clusters=("c2",)), summary())
        assert other.status == 403
        own = ask("POST", "/v2/summaries", Role.WRITE_DOCUMENTS, Limits(clusters=("c1",)), summary())
        assert own.status == 200
        path = "/v2/summaries?manager=slurm&job=4711"
        assert len(ask("GET", path, Role.READ, Limits(sites=("A",))).json()["summaries"]) == 1
        assert ask("GET", path, Role.READ, Limits(sites=("B",))).json()["summaries"] == []
    tokens.close()


def test_rules_make_record_ids_of_identities() -> None:
    rules = (JoinRule("slurm", "a-{cluster}-{job}", "c1"), JoinRule("slurm", "b-{job}-{run}"), JoinRule("oar", "{job}"))
    assert record_ids(ONE, rules) == ["a-c1-4711", "b-4711-0"]


@pytest.mark.parametrize("text", ["slurm", "x-{id}", "{job", "{}-{job}"])
def test_a_rule_that_makes_no_record_ids_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="record_id"):
        JoinRule("slurm", text)
