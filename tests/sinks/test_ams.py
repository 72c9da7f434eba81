"""The messaging sink against a scripted service over real sockets and TLS with a client certificate."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from jobmeter.contract import Sink
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.sinks.ams import AmsSink, Settings, open_sink
from tests.sinks.scripted import Request, ScriptedServer, Step, answer
from tests.wire.test_smime import made, verified

TEXT = b"APEL-sync-message: v0.1\nSite: S\nSubmitHost: h\nNumberOfJobs: 1\nMonth: 3\nYear: 2024\n%%\n"
GIVEN = {"token_url": "https://h/t", "publish_url": "https://h/p", "certificate_file": "c", "key_file": "k"}
NOW = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
TOKEN = "/v1/service-types/ams/hosts/127.0.0.1:authx509"
TOPIC = "/v1/projects/accounting/topics/gLite-APEL:publish"


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A folder with cert.pem and key.pem, that both sides show and trust."""
    certificate, key = made(ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    return tmp_path


def server_tls(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.load_verify_locations(folder / "cert.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _sink(server: ScriptedServer, folder: Path, **options: object) -> AmsSink:
    given = {
        "token_url": f"{server.address}{TOKEN}",
        "publish_url": f"{server.address}{TOPIC}",
        "certificate_file": str(folder / "cert.pem"),
        "key_file": str(folder / "key.pem"),
        "verify": False,
        "timeout_seconds": 60,
    }
    return AmsSink(msgspec.convert({**given, **options}, Settings), lambda: NOW)


def token(text: str = "s3cret") -> Step:
    return answer(200, json.dumps({"token": text}).encode())


def published(number: str = "42") -> Step:
    return answer(200, json.dumps({"messageIds": [number]}).encode())


def _sent(folder: Path, steps: list[Step], items: int = 1, **options: object) -> tuple[list[Outcome], list[Request]]:
    with ScriptedServer(steps, server_tls(folder)) as server:
        sink = _sink(server, folder, **options)
        outcomes = list(sink.send([TEXT] * items))
        sink.close()
        return outcomes, server.requests


def test_the_messaging_sink_is_a_sink(pair: Path) -> None:
    given = {**GIVEN, "certificate_file": str(pair / "cert.pem"), "key_file": str(pair / "key.pem")}
    assert isinstance(open_sink(msgspec.convert(given, Settings)), Sink)


def test_a_message_is_signed_enveloped_and_its_receipt_kept(pair: Path) -> None:
    outcomes, (asked, posted) = _sent(pair, [token(), published("17")])
    assert outcomes == [Accepted(receipt="17")]
    assert (asked.method, asked.path) == ("GET", TOKEN)
    assert (posted.method, posted.path, posted.headers["x-api-key"]) == ("POST", TOPIC, "s3cret")
    (message,) = json.loads(posted.body)["messages"]
    assert message["attributes"] == {"empaid": "20260301/20260301123005"}
    done = verified(pair, base64.b64decode(message["data"]))
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace(b"\r\n", b"\n") == TEXT


def test_in_the_older_form_the_token_stands_in_the_address(pair: Path) -> None:
    with ScriptedServer([token("a/b"), published()], server_tls(pair)) as server:
        sink = _sink(server, pair, publish_url=f"{server.address}{TOPIC}?key=")
        assert sink.send([TEXT]) == [Accepted(receipt="42")]
        sink.close()
    assert server.requests[1].path == f"{TOPIC}?key=a%2Fb"
    assert "x-api-key" not in server.requests[1].headers


def test_one_token_serves_many_messages(pair: Path) -> None:
    outcomes, requests = _sent(pair, [token(), published("1"), published("2"), published("3")], items=3)
    assert outcomes == [Accepted(receipt=number) for number in "123"]
    assert [request.method for request in requests] == ["GET", "POST", "POST", "POST"]


def test_a_token_that_has_expired_is_asked_for_again(pair: Path) -> None:
    steps = [token("old"), published("1"), answer(401), token("new"), published("2")]
    outcomes, requests = _sent(pair, steps, items=2)
    assert outcomes == [Accepted(receipt="1"), Accepted(receipt="2")]
    assert requests[-1].headers["x-api-key"] == "new"


def test_a_fresh_token_that_is_refused_keeps_the_message(pair: Path) -> None:
    outcomes, requests = _sent(pair, [token(), answer(403, b"no right")], items=3)
    assert outcomes == [Keep(reason="status 403: no right")] * 3
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (answer(500, b"<html>broken</html>"), "status 500: <html>broken</html>"),
        (answer(503), "status 503: no details"),
        (answer(302, b"", "Location: https://other"), "status 302"),
        (answer(200, b'{"messageIds": []}'), "gave no message id"),
        (answer(200, b"<html>a proxy's page"), "gave no message id"),
        (answer(200, b'{"messageIds": ["\xff"]}'), "gave no message id"),
        (Step(b'HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{"mess', close=True), "broke off"),
        (Step(close=True), "127.0.0.1"),
    ],
)
def test_what_is_no_clear_answer_keeps_the_message(pair: Path, step: Step, told: str) -> None:
    (outcome,), _ = _sent(pair, [token(), step])
    assert isinstance(outcome, Keep)
    assert told in outcome.reason


@pytest.mark.parametrize("step", [answer(500), answer(200, b"{}"), answer(200, b"no json"), Step(close=True)])
def test_without_a_token_nothing_is_sent(pair: Path, step: Step) -> None:
    (outcome,), requests = _sent(pair, [step])
    assert isinstance(outcome, Keep)
    assert [request.method for request in requests] == ["GET"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_service_can_never_take_is_rejected(pair: Path, status: int) -> None:
    (outcome,), _ = _sent(pair, [token(), answer(status, b"why")])
    assert isinstance(outcome, Rejected)
    assert "why" in outcome.reason


def test_a_service_that_hangs_is_cut_off(pair: Path) -> None:
    (outcome,), _ = _sent(pair, [token(), Step(published().sent, pause_seconds=1)], timeout_seconds=0.3)
    assert isinstance(outcome, Keep)
    assert "no whole answer in 0.3 s" in outcome.reason


def test_a_service_with_a_strange_certificate_gets_neither_certificate_nor_message(pair: Path) -> None:
    (outcome,), requests = _sent(pair, [token()], verify=True)
    assert isinstance(outcome, Keep)
    assert "certificate verify failed" in outcome.reason
    assert requests == []


def test_a_folder_of_authorities_is_trusted(pair: Path) -> None:
    folder = pair / "authorities"
    folder.mkdir()
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(pair / "cert.pem")]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (folder / f"{name}.0").write_bytes((pair / "cert.pem").read_bytes())
    (outcome,), _ = _sent(pair, [token()], verify=True, ca_path=str(folder))
    assert isinstance(outcome, Keep)
    assert "mismatch" in outcome.reason or "not valid for" in outcome.reason  # the name: the chain was trusted


def _renewed(folder: Path) -> None:
    certificate, key = made(ec.generate_private_key(ec.SECP256R1()))
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)


def _gone(folder: Path) -> None:
    (folder / "key.pem").unlink()


@pytest.mark.parametrize(("change", "accepted"), [(_renewed, True), (_gone, False)])
def test_certificate_and_key_are_read_for_each_message(
    pair: Path, change: Callable[[Path], None], accepted: bool
) -> None:
    with ScriptedServer([token(), published(), published()], server_tls(pair)) as server:
        sink = _sink(server, pair)
        assert sink.send([TEXT]) == [Accepted(receipt="42")]
        change(pair)
        (outcome,) = sink.send([TEXT])
        sink.close()
    assert isinstance(outcome, Accepted if accepted else Keep)


def test_a_text_that_no_message_can_hold_is_rejected(pair: Path) -> None:
    with ScriptedServer([], server_tls(pair)) as server:
        assert _sink(server, pair).send(["é".encode()]) == [Rejected("the message is not ASCII")]


@pytest.mark.parametrize("key", ["token_url", "publish_url"])
def test_an_address_that_is_none_is_told(key: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="is no http"):
        msgspec.convert({**GIVEN, key: "ftp://h"}, Settings)
