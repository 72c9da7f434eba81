"""Our client library against a server that misbehaves: nothing is taken for whole or stored that is not."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime

import pytest

from jobmeter.client import (
    Access,
    AsyncClient,
    BrokenAnswerError,
    Client,
    ClientError,
    NotAllowedError,
    Record,
    ServerAwayError,
    TimedOutError,
    TooLargeError,
    UnavailableError,
)
from jobmeter.wire.auditor import encode_record
from tests.sinks.scripted import Request, ScriptedServer, Step, answer
from tests.sinks.test_server import certificates, mutual_tls

__all__ = ["certificates"]

RECORD = Record("a", (), datetime(2024, 1, 1, tzinfo=UTC))
LINE = encode_record(RECORD) + b"\n"


def access(server: ScriptedServer, **options: object) -> Access:
    return Access(address=server.address, **{"longest_wait_seconds": 0.05, "attempts": 3, **options})  # type: ignore[arg-type]


def outcomes(*words: str) -> Step:
    return answer(200, b'{"outcomes":[%b]}' % b",".join(b'{"outcome":"%b"}' % word.encode() for word in words))


def chunked(*chunks: bytes, ends: bool) -> Step:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return Step(head + body + (b"0\r\n\r\n" if ends else b""), close=not ends)


def test_what_a_server_cannot_do_now_is_asked_again() -> None:
    away = answer(503, b'{"error":"too much to do"}', "Retry-After: 1")
    with ScriptedServer([away, Step(close=True), outcomes("new")]) as server, Client(access(server)) as client:
        assert client.add(RECORD).outcome == "new"
        assert len(server.requests) == 3


def test_attempts_come_to_an_end() -> None:
    away = answer(503, b'{"error":"too much to do"}', "Retry-After: 7")
    with ScriptedServer([away] * 3) as server, Client(access(server)) as client:
        with pytest.raises(UnavailableError, match="too much to do") as fault:
            client.add(RECORD)
        assert fault.value.retry_after_seconds == 7
        assert len(server.requests) == 3


def test_what_will_not_be_different_is_not_asked_again() -> None:
    with ScriptedServer([answer(403, b'{"error":"not yours"}')]) as server, Client(access(server)) as client:
        with pytest.raises(NotAllowedError, match="not yours"):
            client.add(RECORD)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "step",
    [chunked(LINE, ends=False), chunked(LINE, LINE[:20], ends=False), chunked(LINE, LINE[:20], ends=True)],
)
def test_a_list_that_breaks_off_is_never_taken_for_whole(step: Step) -> None:
    with ScriptedServer([step]) as server, Client(access(server)) as client:
        found = client.records()
        assert next(found) == RECORD
        with pytest.raises((ServerAwayError, BrokenAnswerError)):
            list(found)
        assert len(server.requests) == 1


def test_a_list_without_an_end_mark_is_refused() -> None:
    step = Step(b"HTTP/1.1 200 OK\r\n\r\n" + LINE, close=True)
    with (
        ScriptedServer([step]) as server,
        Client(access(server)) as client,
        pytest.raises(BrokenAnswerError, match="end"),
    ):
        list(client.records())


def test_a_list_is_asked_again_before_its_first_record() -> None:
    with ScriptedServer([chunked(ends=False), chunked(LINE, ends=True)]) as server, Client(access(server)) as client:
        assert list(client.records()) == [RECORD]


def test_a_list_that_breaks_off_raises_where_it_is_awaited() -> None:
    async def work(server: ScriptedServer) -> None:
        async with AsyncClient(access(server)) as client:
            found = []
            with pytest.raises(ServerAwayError):
                async for record in client.records():
                    found.append(record)
            assert found == [RECORD]

    with ScriptedServer([chunked(LINE, ends=False)]) as server:
        asyncio.run(work(server))


@pytest.mark.parametrize("body", [b"{}", b"[]", b"", b'{"outcomes":[]}', b"<html>"])
def test_an_answer_that_is_not_understood_is_no_success(body: bytes) -> None:
    with (
        ScriptedServer([answer(200, body)]) as server,
        Client(access(server)) as client,
        pytest.raises(BrokenAnswerError),
    ):
        client.add(RECORD)


def test_what_was_answered_for_before_an_error_is_told() -> None:
    records = [Record(f"{number}", (), RECORD.start_time) for number in range(1500)]
    steps = [outcomes(*["new"] * 1000), answer(403, b'{"error":"no more"}')]
    with ScriptedServer(steps) as server, Client(access(server)) as client:
        with pytest.raises(NotAllowedError) as fault:
            client.add_many(records)
        assert len(fault.value.outcomes) == 1000


def test_a_body_that_is_too_large_is_halved_until_it_fits() -> None:
    def script(request: Request) -> Step:
        number = request.body.count(b'"record_id"')
        return outcomes(*["new"] * number) if number < 3 else answer(413, b'{"error":"too large"}')

    records = [Record(f"{number}", (), RECORD.start_time) for number in range(8)]
    with ScriptedServer(script) as server, Client(access(server)) as client:
        told = client.add_many(records)
        assert [one.record_id for one in told] == [record.record_id for record in records]
        assert all(one.stored for one in told)
    with ScriptedServer(lambda _: answer(413)) as server, Client(access(server)) as client:
        assert client.add_many([RECORD])[0].outcome == "invalid"
        with pytest.raises(TooLargeError):
            client.stop("a", RECORD.start_time)


def test_a_server_that_says_nothing_is_given_up() -> None:
    step = Step(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nx")
    impatient = {"answer_seconds": 0.2, "attempts": 1}
    with (
        ScriptedServer([step]) as server,
        Client(access(server, **impatient)) as client,
        pytest.raises(TimedOutError),
    ):
        client.get("a")


def test_the_token_is_shown_and_never_printed() -> None:
    with ScriptedServer([outcomes("new")]) as server:
        shown = access(server, token="very-secret")
        with Client(shown) as client:
            client.add(RECORD)
        assert server.requests[0].headers["authorization"] == "Bearer very-secret"
        assert "very-secret" not in repr(shown)


def test_a_redirect_is_not_followed() -> None:
    with (
        ScriptedServer([answer(302, b"", "Location: http://127.0.0.1:9/")]) as server,
        Client(access(server)) as client,
    ):
        with pytest.raises(ClientError, match="not followed"):
            client.add(RECORD)
        assert len(server.requests) == 1


def test_both_sides_show_certificates(certificates: object) -> None:
    folder = certificates
    files = {
        "ca_file": f"{folder}/ca.pem",
        "certificate_file": f"{folder}/peer.pem",
        "key_file": f"{folder}/peer.key",
    }
    tls: ssl.SSLContext = mutual_tls(folder)  # type: ignore[arg-type]
    with ScriptedServer([outcomes("new")], tls=tls) as server, Client(access(server, **files)) as client:
        assert client.add(RECORD).outcome == "new"
    with (
        ScriptedServer([outcomes("new")], tls=tls) as server,
        Client(access(server, attempts=1)) as client,
        pytest.raises(ServerAwayError, match=r"(?i)certificate"),
    ):
        client.add(RECORD)


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://x", "http://", "http://u:p@h", "http://h?x=1"])
def test_an_address_that_cannot_be_used_is_told(address: str) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        Access(address=address)
