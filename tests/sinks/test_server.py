"""The server sink against a scripted peer over real sockets."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from jobmeter.contract import Sink
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.peer import Endpoint, Peer, PeerAway, TlsFilesUnusable
from jobmeter.sinks.server import ServerSink, Settings, open_sink, retry_after_seconds
from tests.sinks.scripted import Request, ScriptedServer, Step, answer

ITEMS = [b'{"record_id":"a"}', b'{"record_id":"b"}', b'{"record_id":"c"}']


def verdicts(*outcomes: dict[str, str] | str) -> Step:
    told = [{"outcome": each} if isinstance(each, str) else each for each in outcomes]
    return answer(200, json.dumps({"outcomes": told}).encode())


def sink_to(server: ScriptedServer, **options: float) -> ServerSink:
    return open_sink(msgspec.convert({"address": server.address, "timeout_seconds": 5, **options}, Settings))


def sent(steps: list[Step], items: list[bytes] = ITEMS, **options: float) -> tuple[list[Outcome], list[Request]]:
    with ScriptedServer(steps) as server:
        sink = sink_to(server, **options)
        outcomes = list(sink.send(items))
        sink.close()
        return outcomes, server.requests


def kept(outcome: Outcome) -> Keep:
    assert isinstance(outcome, Keep), outcome
    return outcome


def test_a_server_sink_is_a_sink() -> None:
    assert isinstance(open_sink(Settings()), Sink)


def test_each_record_gets_its_own_outcome() -> None:
    outcomes, requests = sent(
        [verdicts("new", {"outcome": "conflict", "field": "stop_time", "reason": "differs"}, "same")]
    )
    assert outcomes == [
        Accepted(),
        Rejected("conflict: stop_time: differs"),
        Accepted(),
    ]
    [request] = requests
    assert (request.method, request.path) == ("POST", "/v2/records")
    assert request.headers["content-type"] == "application/json"
    assert [record["record_id"] for record in json.loads(request.body)] == ["a", "b", "c"]


def test_an_invalid_record_is_rejected_with_field_and_reason() -> None:
    outcomes, _ = sent([verdicts({"outcome": "invalid", "field": "meta", "reason": "is blank"})], ITEMS[:1])
    assert outcomes == [Rejected("meta: is blank")]


def test_new_and_same_are_counted_apart() -> None:
    with ScriptedServer([verdicts("new", "same", "same")]) as server:
        sink = sink_to(server)
        sink.send(ITEMS)
        sink.close()
    assert (sink.counts.new, sink.counts.same, sink.counts.existed) == (1, 2, 0)


def test_one_connection_serves_many_sends() -> None:
    with ScriptedServer([verdicts("new")] * 3) as server:
        sink = sink_to(server)
        for item in ITEMS:
            assert sink.send([item]) == [Accepted()]
        sink.close()
        assert server.connections == 1


def test_a_connection_that_was_closed_while_idle_is_opened_again() -> None:
    with ScriptedServer([verdicts("new")] * 2) as server:
        sink = sink_to(server)
        assert sink.send(ITEMS[:1]) == [Accepted()]
        server.drop_connections()
        assert sink.send(ITEMS[1:2]) == [Accepted()]
        sink.close()
        assert server.connections == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 408, 418, 429, 500, 502, 503, 504])
def test_a_status_that_says_nothing_of_the_records_keeps_them(status: int) -> None:
    outcomes, requests = sent([answer(status, b"words", "Location: http://127.0.0.1:1/v2/records")])
    assert all(f"status {status}" in kept(outcome).reason for outcome in outcomes)
    assert len(outcomes) == 3
    assert len(requests) == 1


def test_a_refused_client_is_told_to_mend_its_access() -> None:
    outcomes, _ = sent([answer(403, b"no")])
    assert "mend its access" in kept(outcomes[0]).reason


def test_the_asked_delay_is_handed_on() -> None:
    outcomes, _ = sent([answer(503, b"", "Retry-After: 17")])
    assert [kept(outcome).delay_seconds for outcome in outcomes] == [17.0] * 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "\u0665"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2015 07:26:30 GMT"}, 90.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2015 08:00:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_an_asked_date_is_read_by_the_peers_own_clock(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_seconds(headers) == seconds


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>welcome</html>",
        b"[]",
        b'{"outcomes":[]}',
        b'{"outcomes":[{"outcome":"new"}]}',
        b'{"outcomes":[{"outcome":"new"},{"outcome":"maybe"},{"outcome":"new"}]}',
        b'{"outcomes":[{"outcome":"new"},{"outcome":"new"},{"outcome":"new"}',
        b"\xff\xfe",
    ],
)
def test_an_answer_that_is_not_understood_keeps_all(body: bytes) -> None:
    outcomes, _ = sent([answer(200, body)])
    assert len([kept(outcome) for outcome in outcomes]) == 3


CUT = [
    Step(b"", close=True),
    Step(b"HTTP/1.1 2", close=True),
    Step(b"garbage\r\n\r\n", close=True),
    Step(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b'{"outcomes":[{"outcome":"new"}]}', close=True),
    Step(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" + b'{"outcomes":[{"outcome":"new"}]}\r\n',
        close=True,
    ),
    Step(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", close=True),
    Step(b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n{", close=True),
]


@pytest.mark.parametrize("step", CUT)
def test_an_answer_that_was_cut_keeps_the_record(step: Step) -> None:
    outcomes, _ = sent([step, step], ITEMS[:1])
    assert kept(outcomes[0]).reason


def test_a_whole_chunked_answer_counts() -> None:
    body = b'{"outcomes":[{"outcome":"new"}]}'
    step = Step(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert sent([step], ITEMS[:1])[0] == [Accepted()]


def test_a_peer_that_dribbles_is_given_up_after_the_timeout() -> None:
    drop = Step(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000, pause_seconds=0.05)
    started = time.monotonic()
    outcomes, _ = sent([drop], timeout_seconds=0.5)
    assert time.monotonic() - started < 30
    assert "no whole answer in 0.5 s" in kept(outcomes[0]).reason


def test_a_peer_that_never_answers_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Settings(address=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=0.2)
        assert "no whole answer" in kept(open_sink(settings).send(ITEMS)[0]).reason


def test_a_peer_that_is_not_there_keeps_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcomes = open_sink(Settings(address=f"http://127.0.0.1:{port}")).send(ITEMS)
    assert "refused" in kept(outcomes[2]).reason
    assert len(outcomes) == 3


def test_a_body_that_is_too_large_is_halved_until_it_fits() -> None:
    def takes_one(request: Request) -> Step:
        records = json.loads(request.body)
        return answer(413) if len(records) > 1 else verdicts("new")

    with ScriptedServer(takes_one) as server:
        sink = sink_to(server)
        assert sink.send(ITEMS) == [Accepted()] * 3
        sizes = [len(json.loads(request.body)) for request in server.requests]
        assert sizes == [3, 1, 2, 1, 1]
        sink.send(ITEMS)
        assert [len(json.loads(request.body)) for request in server.requests[5:]] == [1, 1, 1]
        sink.close()


def test_a_413_that_comes_before_the_body_was_read_still_counts() -> None:
    refused = Step(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", close=True, reads_body=False)
    outcomes, _ = sent([refused, verdicts("new"), verdicts("new")], [b'{"x":"%s"}' % (b"y" * 700_000)] * 2)
    assert outcomes == [Accepted()] * 2


def test_a_single_record_that_is_too_large_is_rejected() -> None:
    assert sent([answer(413, b"too large")], ITEMS[:1])[0] == [Rejected("status 413: too large")]


def test_one_record_that_spoils_a_body_is_found() -> None:
    def refuses_b(request: Request) -> Step:
        ids = [record["record_id"] for record in json.loads(request.body)]
        return answer(400, b'{"error":"b is odd"}') if "b" in ids else verdicts(*["new"] * len(ids))

    with ScriptedServer(refuses_b) as server:
        sink = sink_to(server)
        assert sink.send(ITEMS) == [Accepted(), Rejected('status 400: {"error":"b is odd"}'), Accepted()]
        sink.close()


def test_a_proxys_400_page_rejects_nothing() -> None:
    outcomes, requests = sent([answer(400, b"<html>Bad Request</html>")])
    assert len([kept(outcome) for outcome in outcomes]) == 3
    assert len(requests) == 1


def test_large_groups_are_cut_before_they_are_sent() -> None:
    def takes_all(request: Request) -> Step:
        return verdicts(*["new"] * len(json.loads(request.body)))

    with ScriptedServer(takes_all) as server:
        sink = sink_to(server)
        assert sink.send([b'"%s"' % (b"x" * 600_000)] * 5) == [Accepted()] * 5
        assert all(len(request.body) < 2 * 2**20 for request in server.requests)
        sink.close()


def test_an_auditor_server_gets_one_record_a_request() -> None:
    def auditor(request: Request) -> Step:
        if request.path != "/record":
            return answer(404, b"The requested resource was not found. 404 Not Found")
        name = json.loads(request.body)["record_id"]
        return {"a": answer(200), "b": answer(500, b"RECORD_EXISTS"), "c": answer(400, b"Json deserialize error: x")}[
            name
        ]

    with ScriptedServer(auditor) as server:
        sink = sink_to(server)
        for _ in range(2):
            assert sink.send(ITEMS) == [Accepted(), Accepted(), Rejected("status 400: Json deserialize error: x")]
        assert [request.path for request in server.requests] == ["/v2/records"] + ["/record"] * 6
        assert (sink.counts.new, sink.counts.existed) == (2, 2)
        sink.close()


def test_an_auditor_servers_own_failure_keeps_the_record_and_tries_the_next() -> None:
    steps = [answer(405), answer(500, b"UNEXPECTED_ERROR"), answer(200), answer(200, b'{"warning":"exists"}')]
    outcomes, _ = sent(steps)
    assert outcomes == [Keep(reason="status 500: UNEXPECTED_ERROR"), Accepted(), Accepted()]


def test_an_auditor_server_that_fails_each_time_is_left_alone() -> None:
    outcomes, requests = sent([answer(404), *[answer(500, b"UNEXPECTED_ERROR")] * 9], ITEMS * 3)
    assert len([kept(outcome) for outcome in outcomes]) == 9
    assert len(requests) == 1 + 3


def test_an_auditor_server_that_forbids_writing_keeps_all() -> None:
    outcomes, requests = sent([answer(404), answer(403)])
    assert "mend its access" in kept(outcomes[2]).reason
    assert len(requests) == 2


def test_a_welcome_page_in_place_of_an_auditor_server_accepts_nothing() -> None:
    outcomes, _ = sent([answer(404), *[answer(200, b"<html></html>")] * 3])
    assert len([kept(outcome) for outcome in outcomes]) == 3


def test_a_peer_that_knows_neither_path_keeps_all_and_is_asked_anew() -> None:
    with ScriptedServer([answer(404), answer(404), verdicts("new", "new", "new")]) as server:
        sink = sink_to(server)
        assert "no records are taken" in kept(sink.send(ITEMS)[0]).reason
        assert sink.send(ITEMS) == [Accepted()] * 3
        sink.close()


def test_what_was_accepted_before_the_peer_went_away_stays_accepted() -> None:
    outcomes, _ = sent([answer(404), answer(200), Step(close=True), Step(close=True)])
    assert outcomes[0] == Accepted()
    assert len([kept(outcome) for outcome in outcomes[1:]]) == 2


def test_a_path_before_the_api_is_kept() -> None:
    with ScriptedServer([verdicts("new")]) as server:
        sink = open_sink(Settings(address=f"{server.address}/jobmeter/"))
        assert sink.send(ITEMS[:1]) == [Accepted()]
        sink.close()
        assert server.requests[0].path == "/jobmeter/v2/records"


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "127.0.0.1:8000"},
        {"address": "ftp://127.0.0.1"},
        {"address": "http://"},
        {"address": "http://host:99999"},
        {"address": "http://host:0"},
        {"address": "http://user:secret@host"},
        {"address": "http://host/?x=1"},
        {"certificate_file": "a.pem"},
        {"batch_limit": 0},
        {"timeout_seconds": 0},
        {"unknown": 1},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Settings)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority `ca.pem`, and a certificate and key for 127.0.0.1 signed by it."""
    folder = tmp_path_factory.mktemp("tls")
    signer = ["-CA", "ca.pem", "-CAkey", "ca.key"]
    names = "subjectAltName=IP:127.0.0.1"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    for command in (
        ["req", "-x509", *key, "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem"],
        [
            "req",
            "-x509",
            *key,
            "-subj",
            "/CN=peer",
            "-addext",
            names,
            *signer,
            "-keyout",
            "peer.key",
            "-out",
            "peer.pem",
        ],
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
    return folder


def mutual_tls(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "peer.pem", certificates / "peer.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_both_sides_show_certificates(certificates: Path) -> None:
    with ScriptedServer([verdicts("new")], tls=mutual_tls(certificates)) as server:
        settings = Settings(
            address=server.address,
            timeout_seconds=5,
            ca_file=str(certificates / "ca.pem"),
            certificate_file=str(certificates / "peer.pem"),
            key_file=str(certificates / "peer.key"),
        )
        sink = open_sink(settings)
        assert sink.send(ITEMS[:1]) == [Accepted()]
        sink.close()


def test_a_peer_with_an_unknown_authority_gets_nothing(certificates: Path) -> None:
    with ScriptedServer([verdicts("new")], tls=mutual_tls(certificates)) as server:
        outcomes = open_sink(Settings(address=server.address, timeout_seconds=5)).send(ITEMS[:1])
        assert "certificate" in kept(outcomes[0]).reason
        assert server.requests == []


def test_files_that_do_not_serve_are_named(certificates: Path) -> None:
    missing = str(certificates / "missing.pem")
    with pytest.raises(TlsFilesUnusable, match="missing"):
        open_sink(Settings(address="https://127.0.0.1", ca_file=missing))


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    endless = Step(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2**24 + 10), close=True)
    with ScriptedServer([endless]) as server, pytest.raises(PeerAway, match="more than"):
        Peer(Endpoint(server.address, 20)).exchange("GET", "/")
