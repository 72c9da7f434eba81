from __future__ import annotations

import csv
import http.client
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobmeter.model.access import Grant, Limits, Role
from jobmeter.model.job import JobIdentity
from jobmeter.model.token import Token
from jobmeter.query.samples import parse_samples
from jobmeter.serve.access import AccessSettings
from jobmeter.serve.samples import WAITING_MAX, _Listener
from jobmeter.serve.secret import digest_of
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import Beside
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.open import open_store
from jobmeter.store.samples.open import SampleFolder
from jobmeter.store.tokens import Tokens
from jobmeter.wire.frame import Head, encode_frame
from tests.process import PATIENCE_SECONDS
from tests.serve.live import JSON, Answer, Live, live, record
from tests.serve.memory import MemoryStore
from tests.store_samples.given import START, SetClock, batch, opened, sample

FRAME = {"content-type": "application/vnd.jobmeter.frame"}
OTHER = JobIdentity("slurm", "c1", "4712")
BEGIN = START // 10**9
NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SampleFolder]:
    store = SampleFolder(tmp_path / "samples", SampleBounds(), SetClock())
    yield store
    store.close()


@pytest.fixture
def server(store: MemoryStore, folder: SampleFolder) -> Iterator[Live]:
    with live(store, beside=Beside(folder)) as running:
        yield running


def body(*samples: Any) -> bytes:
    return msgspec.json.encode(batch(*samples))


def test_what_was_posted_is_answered_as_json_csv_and_lines(server: Live) -> None:
    taken = server.ask("POST", "/v2/samples", body(sample(0, (1, 2.5)), sample(1, (3, None)), sample(2, (2**63, 0))))
    assert taken.status == 200
    assert taken.json() == {
        "accepted": 2,
        "rejected": 1,
        "reasons": [{"place": 2, "reason": "a whole number does not fit into 64 bits with a sign"}],
    }
    (series,) = server.ask("GET", "/v2/samples?job=4711&manager=slurm").json()["series"]
    assert series["cluster"] == "c1"
    assert series["times"] == [BEGIN, BEGIN + 1]
    assert series["metrics"][0] == {
        "name": "cpu", "unit": "seconds", "kind": "counter", "form": "value", "values": [1, 3],
    }  # fmt: skip
    assert series["metrics"][1]["values"] == [2.5, None]
    table = server.ask("GET", "/v2/samples", headers={"accept": "text/csv"}).body.decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [(row["metric"], row["value"]) for row in rows] == [("cpu", "1"), ("cpu", "3"), ("memory", "2.5")]
    lines = server.ask("GET", "/v2/samples", headers={"accept": "application/x-ndjson"}).body.splitlines()
    assert json.loads(lines[1])["values"] == {"cpu": 3, "memory": None}


def test_periods_and_their_bounds_are_asked_for(server: Live) -> None:
    server.ask("POST", "/v2/samples", body(*(sample(second, (second, 7)) for second in range(40))))
    answer = server.ask("GET", f"/v2/samples?job=4711&step=10s&from={BEGIN}&to=2023-11-14T22:13:40Z&metric=cpu")
    (series,) = answer.json()["series"]
    assert series["times"] == [BEGIN, BEGIN + 10]
    forms = {one["form"]: one["values"] for one in series["metrics"]}
    assert forms == {"rate": [1.0, 1.0], "increase": [9.0, 10.0]}


@pytest.mark.parametrize(
    "query", ["nobody=1", "step=0", "step=x", "from=yesterday", "run=x", "job=1&job=2", "involving=1"]
)
def test_a_question_that_is_not_understood_is_told(server: Live, query: str) -> None:
    answer = server.ask("GET", f"/v2/samples?{query}")
    assert answer.status == 400
    assert answer.json()["field"] == query.partition("=")[0]


@pytest.mark.parametrize("text", ["", "[", "{}", '{"node": 1, "samples": []}', '{"node":"n","samples":[{}]}'])
def test_a_body_that_is_no_batch_is_told(server: Live, text: str) -> None:
    assert server.ask("POST", "/v2/samples", text).status == 400


def test_an_empty_store_answers_with_nothing(server: Live) -> None:
    assert server.ask("GET", "/v2/samples").json() == {"series": []}
    assert server.ask("GET", "/v2/samples", headers={"accept": "text/csv"}).body.startswith(b"time,manager")
    assert server.ask("GET", "/v2/samples", headers={"accept": "image/png"}).status == 406


def test_without_a_store_the_answer_says_what_to_set(store: MemoryStore) -> None:
    with live(store) as running:
        for method, path in (("GET", "/v2/samples"), ("POST", "/v2/samples"), ("GET", "/v2/samples/tail")):
            answer = running.ask(method, path, "[]" if method == "POST" else None)
            assert answer.status == 404
            assert "samples.path" in answer.json()["error"]


def test_while_another_process_writes_posting_is_put_off_and_reading_goes_on(tmp_path: Path, server: Live) -> None:
    with opened(tmp_path / "samples") as writer:
        writer.write(batch(sample(0)))
        assert server.ask("POST", "/v2/samples", body(sample(1))).status == 503
        assert len(server.ask("GET", "/v2/samples").json()["series"]) == 1


def events(connection: http.client.HTTPConnection, path: str) -> Iterator[dict[str, Any]]:
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    while line := answer.readline():
        if line == b": jobmeter\n":
            yield {}
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def test_a_tail_gives_what_comes_and_only_what_is_asked_for(tmp_path: Path, server: Live) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    with opened(tmp_path / "samples") as writer:
        writer.write(batch(sample(0, (1, 1))))
        found = events(connection, "/v2/samples/tail?job=4711")
        assert next(found) == {}
        writer.write(batch(sample(1, (2, 2), job=OTHER), sample(1, (3, 3))))
        first = next(found)
        assert (first["job"], first["values"]) == ("4711", {"cpu": 3, "memory": 3})
        assert first["units"] == {"cpu": "seconds", "memory": "bytes"}
        writer.reopen()
        writer.write(batch(sample(2, (4, None))))
        assert next(found)["values"] == {"cpu": 4, "memory": None}
    connection.close()
    assert server.ask("GET", "/health_check").status == 200


def test_a_reader_of_one_site_sees_samples_of_the_jobs_whose_records_it_sees(
    database_url: str, folder: SampleFolder
) -> None:
    tokens, kept = Tokens(database_url), open_store(database_url)
    sink = folder.sink()
    sink.write(batch(sample(0), sample(0, job=OTHER), sample(0, job=None, node="n9")))
    with live(kept, ServeSettings(access=AccessSettings(required=True)), tokens, beside=Beside(folder)) as server:

        def ask(method: str, path: str, role: Role, limits: Limits, text: bytes | None = None) -> Answer:
            secret = f"jobmeter_{len(tokens.all())}"
            tokens.add(Token("t", (Grant(frozenset({role}), limits),), NOW, None), digest_of(secret))
            return server.ask(method, path, text, {**JSON, "authorization": f"Bearer {secret}"})

        for number, site in (("4711", "A"), ("4712", "B")):
            given = record(f"slurm-{number}", meta={"site_id": [site], "user": ["u"]})
            assert ask("POST", "/record", Role.WRITE, Limits(), json.dumps(given).encode()).status == 200
        seen = ask("GET", "/v2/samples", Role.READ, Limits(sites=("A",))).json()["series"]
        assert [one["job"] for one in seen] == ["4711"]
        assert len(ask("GET", "/v2/samples", Role.READ, Limits()).json()["series"]) == 3
        assert ask("GET", "/v2/samples", Role.WRITE, Limits()).status == 403
        wrong = ask("POST", "/v2/samples", Role.WRITE_DOCUMENTS, Limits(clusters=("c2",)), body(sample(1)))
        assert wrong.status == 403
        assert "'c1'" in wrong.json()["error"]
        right = ask("POST", "/v2/samples", Role.WRITE_DOCUMENTS, Limits(clusters=("c1",)), body(sample(1)))
        assert right.status == 200
        assert ask("POST", "/v2/samples", Role.WRITE, Limits(), body(sample(1))).status == 403
    tokens.close()
    kept.close()


def test_a_frame_as_nodes_send_it_is_taken_as_well(server: Live) -> None:
    frame = encode_frame(Head("n1", 7, 1), batch(sample(0, (1, 2.5)), sample(1, (3, None))))
    taken = server.ask("POST", "/v2/samples", frame, FRAME)
    assert taken.json() == {"accepted": 2, "rejected": 0, "reasons": []}
    (series,) = server.ask("GET", "/v2/samples?job=4711&manager=slurm").json()["series"]
    assert len(series["times"]) == 2
    for broken in (frame[:-1], frame[:20], frame[:-1] + bytes([frame[-1] ^ 1]), frame[:4] + b"\x63" + frame[5:]):
        answer = server.ask("POST", "/v2/samples", broken, FRAME)
        assert answer.status == 400, answer
        assert "no frame of samples" in answer.json()["error"]


def test_who_listens_too_slowly_is_told_how_much_was_missed() -> None:
    listener = _Listener(parse_samples(b"job=4711&manager=slurm"))
    found = [(sample(0, (1, 2.5)), b"{}"), (sample(0, (1, 2.5), job=OTHER), b"{}")]

    class Seeing:
        sees_all = True

    for _ in range(WAITING_MAX + 3):
        listener.give(found)
    assert listener.told(Seeing()) == b'event: missed\ndata: {"samples":3}\n\n'  # type: ignore[arg-type]
    assert listener.told(Seeing()) == b""  # type: ignore[arg-type]
    listener.give(found)
    Seeing.sees_all = False
    assert b"null" in listener.told(Seeing())  # type: ignore[arg-type]
