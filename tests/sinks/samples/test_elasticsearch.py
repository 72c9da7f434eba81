"""Against a strict stand-in for today's dialect: whatever the server does, every document arrives once."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobmeter.model.outcome import Accepted, Keep, Rejected
from jobmeter.model.sample import SampleBatch
from jobmeter.sinks.samples.elasticsearch import ElasticsearchSink, Settings, open_sink
from jobmeter.wire.colmet import FORMATS
from tests.sinks.samples.bulk_server import BulkServer, Misbehaviour
from tests.sinks.samples.given import START, all_accepted, colmet_batch, own_batch

HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


@pytest.fixture
def server() -> Iterator[BulkServer]:
    with BulkServer() as made:
        yield made


def sink_for(server: BulkServer, **given: Any) -> ElasticsearchSink:
    return open_sink(Settings(address=server.address, index_prefix="colmet_", timeout_seconds=60, **given))


def batches(number: int) -> SampleBatch:
    """That many documents, all different."""
    samples = [
        sample for at in range(number) for sample in colmet_batch(START + at, kinds=("perfhwstats_default",)).samples
    ]
    return SampleBatch("n1", tuple(samples))


def deliver(sink: ElasticsearchSink, batch: SampleBatch, tries: int = 50) -> int:
    """Offer what is kept again, as the feeder does; gives how many samples were rejected."""
    rejected = 0
    for _ in range(tries):
        outcomes = sink.write(batch)
        assert len(outcomes) == len(batch.samples)
        rejected += sum(isinstance(outcome, Rejected) for outcome in outcomes)
        kept = [sample for sample, outcome in zip(batch.samples, outcomes, strict=True) if isinstance(outcome, Keep)]
        if not kept:
            return rejected
        batch = SampleBatch(batch.node, tuple(kept))
    raise AssertionError("it never ends")


def number(server: BulkServer) -> int:
    return sum(len(documents) for documents in server.documents.values())


def test_documents_are_those_of_colmet(server: BulkServer) -> None:
    sink = sink_for(server)
    assert all_accepted(sink.write(colmet_batch()))
    assert set(server.documents) == {f"colmet_{kind.lower()}" for kind in FORMATS}
    (power,) = server.documents["colmet_ipmipowerstats_default"].values()
    assert power == {
        "hostname": "n1",
        "job_id": 0,
        "timestamp": START,
        "average_power_consumption": 2000,
        "involved_jobs": [1000, 7],
    }
    (mapping,) = {str(each) for each in server.mappings.values()}
    assert mapping == str({"mappings": {"properties": {"timestamp": {"type": "date", "format": "epoch_second"}}}})
    sink.close()


def test_our_own_samples_go_to_an_index_of_their_source(server: BulkServer) -> None:
    sink = sink_for(server)
    assert all_accepted(sink.write(own_batch()))
    assert all_accepted(sink.write(own_batch(START + 1, value=None)))
    one, other = server.documents["colmet_cgroup"].values()
    assert one["cgroup_cpu_usage"] == 5
    assert (one["job"], one["manager"], one["cluster"], one["job_id"]) == ("4711", "slurm", "alpha", 4711)
    assert "cgroup_cpu_usage" not in other
    sink.close()


def test_what_is_sent_again_is_no_second_document(server: BulkServer) -> None:
    sink = sink_for(server)
    for _ in range(3):
        assert all_accepted(sink.write(batches(20)))
    assert number(server) == server.creations == 20
    sink.close()


@pytest.mark.parametrize(
    "bad",
    [
        Misbehaviour(401, b'{"error":{"type":"security_exception"},"status":401}', {}),
        Misbehaviour(403, b"{}", {}),
        Misbehaviour(429, b'{"error":"circuit_breaking_exception"}', {"Retry-After": "1"}),
        Misbehaviour(500, HTML, {"Content-Type": "text/html"}),
        Misbehaviour(502, HTML, {"Content-Type": "text/html"}, after=True),
        Misbehaviour(200, HTML, {"Content-Type": "text/html"}, after=True),
        Misbehaviour(200, b'{"items":[]}', {}),
        Misbehaviour(200, b'{"items":[{"create":{}}]}', {}, after=True),
        Misbehaviour(503, b"", {}),
    ],
    ids=lambda bad: f"{bad.status}-{'after' if bad.after else 'before'}-{len(bad.body)}",
)
def test_an_answer_about_nothing_loses_and_doubles_nothing(server: BulkServer, bad: Misbehaviour) -> None:
    sink = sink_for(server)
    server.misbehave.extend([bad] * 3)
    outcomes = sink.write(batches(30))
    assert all(isinstance(outcome, Keep) for outcome in outcomes)
    if bad.status == 429:
        assert {outcome.delay_seconds for outcome in outcomes if isinstance(outcome, Keep)} == {1.0}
    assert deliver(sink, batches(30)) == 0
    assert number(server) == server.creations == 30
    sink.close()


def test_only_the_items_that_failed_are_sent_again(server: BulkServer) -> None:
    sink = sink_for(server)
    server.item_status = lambda seen: 429 if seen <= 100 and seen % 3 == 0 else None
    outcomes = sink.write(batches(99))
    assert [isinstance(outcome, Keep) for outcome in outcomes] == [place % 3 == 2 for place in range(99)]
    assert deliver(sink, batches(99)) == 0
    assert number(server) == server.creations == 99
    sink.close()


def test_a_document_that_can_never_be_taken_is_rejected_alone(server: BulkServer) -> None:
    sink = sink_for(server)
    server.item_status = lambda seen: 400 if seen == 7 else None
    outcomes = sink.write(batches(20))
    assert [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Rejected)] == [6]
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 19
    sink.close()


def test_a_body_that_is_too_large_is_halved_until_it_fits(server: BulkServer) -> None:
    sink = sink_for(server)
    server.most_bytes = 4000
    assert deliver(sink, batches(200)) == 0
    assert number(server) == 200
    requests = server.requests
    assert deliver(sink, SampleBatch("n1", batches(400).samples[200:])) == 0
    assert server.requests - requests < 40
    sink.close()


def test_one_document_that_is_too_large_is_rejected(server: BulkServer) -> None:
    sink = sink_for(server)
    server.most_bytes = 50
    assert isinstance(sink.write(batches(1))[0], Rejected)
    sink.close()


def test_a_server_that_is_away_or_silent_loses_nothing(server: BulkServer) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sink = open_sink(Settings(address=address, timeout_seconds=0.3))
        begun = time.monotonic()
        assert all(isinstance(outcome, Keep) for outcome in sink.write(batches(3)))
        assert time.monotonic() - begun < 60
        sink.close()
    sink = open_sink(Settings(address=address, timeout_seconds=0.3))
    (keep, *_) = sink.write(batches(3))
    assert isinstance(keep, Keep)
    assert "refused" in keep.reason
    sink.close()


def test_credentials_come_from_a_file(server: BulkServer, tmp_path: Path) -> None:
    server.authorization = "Basic YWxpY2U6czplY3JldA=="
    sink = sink_for(server)
    outcome = sink.write(batches(1))[0]
    sink.close()
    assert isinstance(outcome, Keep)
    assert "401" in outcome.reason
    file = tmp_path / "credentials"
    file.write_text("alice:s:ecret \n")
    sink = sink_for(server, credentials_file=str(file))
    assert all_accepted(sink.write(batches(1)))
    sink.close()
    file.write_text("alice")
    with pytest.raises(ValueError, match="holds no user:password"):
        sink_for(server, credentials_file=str(file))


def test_an_address_without_a_scheme_is_http() -> None:
    assert Settings(address="localhost:9200").endpoint.address == "http://localhost:9200"
    with pytest.raises(ValueError, match="address"):
        Settings(address="ftp://localhost")
    with pytest.raises(ValueError, match="small letters"):
        Settings(index_prefix="Colmet_")
