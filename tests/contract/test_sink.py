"""What every sink does, over all files of `jobmeter/sinks`. A new sink adds its receiver to `RECEIVERS`."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from jobmeter import registry
from jobmeter.contract import Sink
from jobmeter.model.outcome import Accepted, Keep, Outcome
from jobmeter.sinks import ams, document_files, documents, elasticsearch_documents, measured, server, summaries
from jobmeter.wire.auditor import encode_record
from jobmeter.wire.measured import summary_item
from tests.deliver.material import record
from tests.sinks.scripted import Request, ScriptedServer, Step, answer
from tests.sinks.test_documents import item as document
from tests.sinks.test_measured import SUMMARY
from tests.wire.test_smime import made

NAMES = registry.names("sinks")


class Receiver(Struct):
    """A sink connected to a real receiver, another whose receiver is away, three items for it, and what has arrived."""

    connected: Sink
    cut_off: Sink
    items: Sequence[bytes]
    arrived: list[bytes]


def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def server_receiver() -> Iterator[Receiver]:
    arrived: list[bytes] = []

    def take(request: Request) -> Step:
        records = json.loads(request.body)
        arrived.extend(json.dumps(each).encode() for each in records)
        return answer(200, json.dumps({"outcomes": [{"outcome": "same"}] * len(records)}).encode())

    with ScriptedServer(take) as peer:
        yield Receiver(
            server.open_sink(server.Settings(address=peer.address)),
            server.open_sink(server.Settings(address=nobody())),
            [encode_record(record(name)) for name in ("a", "b", "c")],
            arrived,
        )


@contextmanager
def ams_receiver() -> Iterator[Receiver]:
    arrived: list[bytes] = []

    def take(request: Request) -> Step:
        if request.method == "GET":
            return answer(200, b'{"token": "t"}')
        arrived.append(request.body)
        return answer(200, json.dumps({"messageIds": [str(len(arrived))]}).encode())

    with ScriptedServer(take) as peer, TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("cert.pem", "key.pem")]
        for file, pem in zip(files, made(ec.generate_private_key(ec.SECP256R1())), strict=True):
            file.write_bytes(pem)
        sinks = [
            ams.open_sink(
                ams.Settings(
                    token_url=f"{address}/token",
                    publish_url=f"{address}/publish",
                    certificate_file=str(files[0]),
                    key_file=str(files[1]),
                )
            )
            for address in (peer.address, nobody())
        ]
        yield Receiver(
            sinks[0], sinks[1], [b"APEL-sync-message: v0.1\nSite: %d\n%%%%\n" % n for n in range(3)], arrived
        )


@contextmanager
def document_receiver() -> Iterator[Receiver]:
    arrived: list[bytes] = []

    def take(request: Request) -> Step:
        arrived.append(request.body)
        return answer(200)

    with ScriptedServer(take) as peer:
        sinks = [documents.open_sink(documents.Settings(url=f"{url}/")) for url in (peer.address, nobody())]
        yield Receiver(sinks[0], sinks[1], [document(number) for number in range(3)], arrived)


@contextmanager
def file_receiver() -> Iterator[Receiver]:
    with TemporaryDirectory() as folder:
        there = document_files.open_sink(document_files.Settings(folder=folder))
        nowhere = document_files.open_sink(document_files.Settings(folder=f"{folder}/missing"))
        yield Receiver(there, nowhere, [document(number) for number in range(3)], _Lines(Path(folder, "ssh.json")))


class _Lines(list[bytes]):
    """The documents in a file, by their first lines."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def __len__(self) -> int:
        return self._file.read_text().count('"login_node"')


@contextmanager
def elasticsearch_receiver() -> Iterator[Receiver]:
    arrived: list[bytes] = []

    def take(request: Request) -> Step:
        lines = request.body.splitlines()[1::2]
        arrived.extend(lines)
        items = [{"create": {"status": 201}}] * len(lines)
        return answer(200, json.dumps({"errors": False, "items": items}).encode())

    with ScriptedServer(take) as peer:
        sinks = [
            elasticsearch_documents.open_sink(elasticsearch_documents.Settings(address=address, index="af"))
            for address in (peer.address, nobody())
        ]
        yield Receiver(sinks[0], sinks[1], [document(number) for number in range(3)], arrived)


@contextmanager
def summary_receiver() -> Iterator[Receiver]:
    arrived: list[bytes] = []

    def take(request: Request) -> Step:
        told = json.loads(request.body)
        arrived.extend(json.dumps(one).encode() for one in told)
        return answer(200, json.dumps({"accepted": len(told)}).encode())

    with ScriptedServer(take) as peer:
        sinks = [summaries.open_sink(summaries.Settings(address=address)) for address in (peer.address, nobody())]
        yield Receiver(sinks[0], sinks[1], [b'{"job":%d}' % number for number in range(3)], arrived)


@contextmanager
def measured_receiver() -> Iterator[Receiver]:
    arrived: list[bytes] = []

    def take(request: Request) -> Step:
        told = json.loads(request.body)
        arrived.extend(json.dumps(one).encode() for one in told)
        return answer(200, json.dumps({"accepted": len(told)}).encode())

    with ScriptedServer(take) as peer:
        sinks = [measured.open_sink(measured.Settings(address=address)) for address in (peer.address, nobody())]
        yield Receiver(sinks[0], sinks[1], [summary_item(SUMMARY)] * 3, arrived)


RECEIVERS: dict[str, Callable[[], AbstractContextManager[Receiver]]] = {
    "ams": ams_receiver,
    "document-files": file_receiver,
    "documents": document_receiver,
    "elasticsearch-documents": elasticsearch_receiver,
    "measured": measured_receiver,
    "server": server_receiver,
    "summaries": summary_receiver,
}


@pytest.fixture(params=NAMES)
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with RECEIVERS[request.param]() as made:
        yield made
        made.connected.close()
        made.cut_off.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_sink_has_a_receiver_here(name: str) -> None:
    assert name in RECEIVERS


def all_accepted(outcomes: Sequence[Outcome]) -> bool:
    """Whether all three items were taken, whatever was given for a receipt."""
    return [type(outcome) for outcome in outcomes] == [Accepted] * 3


def test_it_is_a_sink_that_takes_at_least_one_item(receiver: Receiver) -> None:
    assert isinstance(receiver.connected, Sink)
    assert receiver.connected.batch_limit >= 1


def test_there_is_one_outcome_for_each_item(receiver: Receiver) -> None:
    assert all_accepted(receiver.connected.send(receiver.items))
    assert len(receiver.arrived) == 3


def test_nothing_to_send_has_no_outcome(receiver: Receiver) -> None:
    assert list(receiver.connected.send([])) == []
    assert list(receiver.cut_off.send([])) == []


def test_repeats_are_harmless(receiver: Receiver) -> None:
    assert all_accepted(receiver.connected.send(receiver.items))
    assert all_accepted(receiver.connected.send(receiver.items))


def test_items_are_kept_with_a_reason_when_the_receiver_is_away(receiver: Receiver) -> None:
    outcomes = receiver.cut_off.send(receiver.items)
    assert len(outcomes) == 3
    assert all(isinstance(outcome, Keep) and outcome.reason for outcome in outcomes)
