"""Joined records in real databases behind a real server: both orders, repeats, runs, the archive, a crash between."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from jobmeter.contract import RecordStore
from jobmeter.model.job import JobIdentity
from jobmeter.model.summary import JobSummary
from jobmeter.serve.joined import JoinSettings
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import Beside
from jobmeter.store.open import open_store
from jobmeter.store.summaries import Summaries
from tests.model.test_joining import summary as summary_of
from tests.process import eventually
from tests.serve.live import Live, live, record

BEGIN = 1_714_550_400
"""2024-05-01 08:00 UTC."""
ON = ServeSettings(join=JoinSettings(components=("all",)))


@pytest.fixture
def kept(database_url: str) -> Iterator[RecordStore]:
    opened = open_store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def serving(kept: RecordStore, database_url: str) -> Callable[..., Any]:
    @contextmanager
    def start(settings: ServeSettings = ON) -> Iterator[Live]:
        summaries = Summaries(database_url)
        with live(kept, settings, beside=Beside(None, summaries)) as running:
            yield running
        summaries.close()

    return start


def summary(first: int = 0, last: int = 3600, joules: float = 100.4, **job: Any) -> JobSummary:
    made = summary_of(BEGIN + first, BEGIN + last, joules=joules)
    return replace(made, job=JobIdentity(**{"manager": "slurm", "cluster": "c1", "job": "4711", **job}))


def sent(record_id: str = "slurm-4711", start: int = 0, stop: int = 3600, **more: Any) -> dict[str, Any]:
    def moment(seconds: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(BEGIN + seconds))

    return record(record_id, start_time=moment(start), stop_time=moment(stop), **more)


def amounts(server: Live, record_id: str = "slurm-4711") -> dict[str, int]:
    answer = server.ask("GET", f"/record/{record_id}")
    if answer.status != 200:
        return {}
    return {part["name"]: part["amount"] for part in answer.json()["components"]}


def summaries_of(server: Live, record_id: str) -> list[dict[str, Any]]:
    """What belongs to a record; which that is, is written down after the record was changed."""
    return list(server.ask("GET", f"/v2/summaries?record_id={record_id}").json()["summaries"])


def energy(server: Live, amount: int | None, record_id: str = "slurm-4711") -> None:
    eventually(lambda: amounts(server, record_id).get("Energy") == amount)


def post_all(server: Live, *, record_first: bool) -> None:
    posts = [("/v2/records", [sent()]), ("/v2/summaries", [summary()])]
    for path, value in posts if record_first else reversed(posts):
        assert server.post(path, value).status == 200


def joules_of_all(server: Live) -> object:
    answer = server.ask("GET", "/v2/totals?sum=Energy")
    assert answer.status == 200, answer
    (group,) = answer.json()["groups"]
    return group["values"][0]


def whole(kept: RecordStore) -> None:
    while kept.fold():
        pass
    assert kept.check_rollups() == []
    assert kept.check_versions() == []


@pytest.mark.parametrize("record_first", [True, False])
def test_whichever_comes_first_the_record_shows_what_was_measured(
    serving: Callable[..., Any], kept: RecordStore, record_first: bool
) -> None:
    with serving() as server:
        post_all(server, record_first=record_first)
        energy(server, 100)
        found = server.ask("GET", "/record/slurm-4711").json()
        assert found["meta"]["energy_source"] == ["rapl"]
        assert joules_of_all(server) == 100
        (version,) = server.ask("GET", "/v2/records/slurm-4711/versions").json()
        assert (version["who"], version["why"]) == ("samples", "job summary")
        assert all(part["name"] != "Energy" for part in version["record"]["components"])
        eventually(lambda: server.metric("jobmeter_joins_total") == 1)
    whole(kept)


@pytest.mark.parametrize(
    ("faulty", "place"),
    [
        ({"first_ns": 2**63}, "first_ns"),
        ({"last_ns": -1}, "last_ns"),
        ({"job": {"manager": "slurm", "cluster": "c", "job": "1", "run": 2**63}}, "job.run"),
        ({"job": {"manager": "slurm", "cluster": "c", "job": "1\0"}}, "job.job"),
        ({"job": {"manager": "slurm", "cluster": "\u00e4" * 257, "job": "1"}}, "job.cluster"),
    ],
)
def test_what_no_database_can_keep_is_refused_with_its_place(
    serving: Callable[..., Any], kept: RecordStore, faulty: dict[str, object], place: str
) -> None:
    with serving() as server:
        answer = server.post("/v2/summaries", [{**msgspec.to_builtins(summary()), **faulty}])
        assert answer.status == 400
        assert place in answer.json()["error"]
    whole(kept)


def test_repeats_of_either_change_nothing_more(serving: Callable[..., Any], kept: RecordStore) -> None:
    with serving() as server:
        post_all(server, record_first=True)
        energy(server, 100)
        answer = server.post("/v2/records", [sent()]).json()
        assert [one["outcome"] for one in answer["outcomes"]] == ["same"]
        assert server.post("/v2/summaries", [summary()]).status == 200
        time.sleep(1.5)
        assert len(server.ask("GET", "/v2/records/slurm-4711/versions").json()) == 1
    whole(kept)


def test_a_better_summary_replaces_and_a_worse_one_does_not(serving: Callable[..., Any], kept: RecordStore) -> None:
    with serving() as server:
        server.post("/v2/records", [sent()])
        server.post("/v2/summaries", [replace(summary(last=1800, joules=50), ended=False)])
        energy(server, 50)
        server.post("/v2/summaries", [summary(joules=99.7)])
        energy(server, 100)
        server.post("/v2/summaries", [replace(summary(last=900, joules=20), ended=False)])
        time.sleep(1.5)
        energy(server, 100)
    whole(kept)


def test_without_the_option_records_stay_as_they_were_sent(serving: Callable[..., Any]) -> None:
    with serving(ServeSettings()) as server:
        post_all(server, record_first=True)
        time.sleep(1.0)
        assert "Energy" not in amounts(server)
    with serving() as server:  # and what is there is joined when it is turned on
        energy(server, 100)


def test_what_waited_while_the_server_was_down_is_joined_when_it_starts(serving: Callable[..., Any]) -> None:
    with serving(ServeSettings()) as server:
        post_all(server, record_first=False)
    with serving() as server:
        energy(server, 100)


def test_a_collectors_identity_finds_records_that_no_rule_names_and_no_answer_shows_it(
    serving: Callable[..., Any], kept: RecordStore
) -> None:
    condor: dict[str, Any] = {"manager": "htcondor", "cluster": "schedd.example", "job": "12.0", "run": 3}
    name = "htcondor-schedd.example#12.0#1700000000"
    with serving() as server:
        server.post("/v2/summaries", [summary(**(condor | {"run": 0}))])
        assert server.post("/v2/records", [sent(name, job_identity=condor)]).json()["outcomes"] == [{"outcome": "new"}]
        path = "htcondor-schedd.example%2312.0%231700000000"
        energy(server, 100, path)
        assert b"job_identity" not in server.ask("GET", f"/record/{path}").body
        eventually(lambda: [one["job"]["job"] for one in summaries_of(server, path)] == ["12.0"])
        odd = server.post("/v2/records", [sent("x", job_identity={"manager": "", "cluster": "", "job": "1"})])
        assert odd.json()["outcomes"][0]["field"] == "job_identity.manager"
    whole(kept)


def test_runs_of_a_requeued_job_get_what_each_of_them_used(serving: Callable[..., Any], kept: RecordStore) -> None:
    """In every order in which the four can come."""
    job = {"manager": "slurm", "cluster": "c1"}
    with serving() as server:
        for place, order in enumerate(itertools.permutations(range(4))):
            number = str(1000 + place)
            first, second = f"slurm-{number}-{BEGIN}", f"slurm-{number}"
            posts = [
                ("/v2/records", [sent(first, 0, 100, job_identity={**job, "job": number})]),
                ("/v2/records", [sent(second, 120, 300, job_identity={**job, "job": number})]),
                ("/v2/summaries", [summary(1, 99, 11, job=number)]),
                ("/v2/summaries", [summary(121, 299, 22, job=number)]),
            ]
            for at in order:
                assert server.post(*posts[at]).status == 200
        for place in range(24):
            energy(server, 11, f"slurm-{1000 + place}-{BEGIN}")
            energy(server, 22, f"slurm-{1000 + place}")
    whole(kept)


def test_parts_of_one_job_are_added_up_in_whichever_order_they_come(
    serving: Callable[..., Any], kept: RecordStore
) -> None:
    """Two nodes that sent to different gatherers from the same second on, one of them again after a long silence."""
    parts = [
        replace(summary(1, 500, 10), nodes=("n1",)),
        replace(summary(1, 3599, 20), nodes=("n2",)),
        replace(summary(2000, 3599, 40), nodes=("n1",)),
        replace(summary(2010, 3000, 80), nodes=("n1",)),  # tells of what the one before tells better
    ]
    with serving() as server:
        for place, order in enumerate(itertools.permutations(range(4))):
            number = str(2000 + place)
            for at in order:
                part = replace(parts[at], job=replace(parts[at].job, job=number))
                assert server.post("/v2/summaries", [part]).status == 200
            assert server.post("/v2/records", [sent(f"slurm-{number}")]).status == 200
        for place in range(24):
            energy(server, 70, f"slurm-{2000 + place}")
        whole_one = [(70.0, ["n1", "n2"])]
        eventually(lambda: [(one["joules"], one["nodes"]) for one in summaries_of(server, "slurm-2000")] == whole_one)
        assert len(server.ask("GET", "/v2/summaries?manager=slurm&job=2000").json()["summaries"]) == 4
    whole(kept)


def test_a_stop_that_comes_after_the_join_keeps_what_was_joined(serving: Callable[..., Any], kept: RecordStore) -> None:
    running = {key: value for key, value in sent().items() if key != "stop_time"}
    with serving() as server:
        server.post("/v2/summaries", [summary()])
        server.post("/record", running)
        energy(server, 100)
        assert server.ask("PUT", "/record", msgspec.json.encode(sent())).status == 200
        assert server.ask("GET", "/record/slurm-4711").json()["stop_time"] is not None
        energy(server, 100)
        assert server.post("/v2/records", [sent(), running]).json()["outcomes"] == [{"outcome": "same"}] * 2
    whole(kept)
