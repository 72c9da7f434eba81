"""What every sink does, over all files of `jobmeter/sinks`. A new sink adds its receiver to `RECEIVERS`."""

from __future__ import annotations

import importlib
import json
import pkgutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from msgspec import Struct

import jobmeter.sinks
from jobmeter.contract import Sink
from jobmeter.model.outcome import Accepted, Keep
from jobmeter.sinks import server
from jobmeter.wire.auditor import encode_record
from tests.deliver.material import record
from tests.sinks.scripted import Request, ScriptedServer, Step, answer

NAMES = [module.name for module in pkgutil.iter_modules(jobmeter.sinks.__path__) if not module.name.startswith("_")]


class Receiver(Struct):
    """A sink connected to a real receiver, another whose receiver is away, and what has arrived."""

    connected: Sink
    cut_off: Sink
    arrived: list[bytes]


@contextmanager
def server_receiver() -> Iterator[Receiver]:
    arrived: list[bytes] = []

    def take(request: Request) -> Step:
        records = json.loads(request.body)
        arrived.extend(json.dumps(each).encode() for each in records)
        return answer(200, json.dumps({"outcomes": [{"outcome": "same"}] * len(records)}).encode())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with ScriptedServer(take) as peer:
        yield Receiver(
            server.open_sink(server.Settings(address=peer.address)),
            server.open_sink(server.Settings(address=nobody)),
            arrived,
        )


RECEIVERS: dict[str, Callable[[], AbstractContextManager[Receiver]]] = {"server": server_receiver}


@pytest.fixture(params=NAMES)
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with RECEIVERS[request.param]() as made:
        yield made
        made.connected.close()
        made.cut_off.close()


ITEMS = [encode_record(record(name)) for name in ("a", "b", "c")]


@pytest.mark.parametrize("name", NAMES)
def test_a_sink_plugin_offers_settings_with_defaults_and_says_what_it_is(name: str) -> None:
    plugin = importlib.import_module(f"jobmeter.sinks.{name}")
    assert plugin.__doc__
    assert issubclass(plugin.Settings, Struct)
    assert isinstance(plugin.open_sink(plugin.Settings()), Sink)


def test_it_is_a_sink_that_takes_at_least_one_item(receiver: Receiver) -> None:
    assert isinstance(receiver.connected, Sink)
    assert receiver.connected.batch_limit >= 1


def test_there_is_one_outcome_for_each_item(receiver: Receiver) -> None:
    assert receiver.connected.send(ITEMS) == [Accepted()] * 3
    assert len(receiver.arrived) == 3


def test_nothing_to_send_has_no_outcome(receiver: Receiver) -> None:
    assert list(receiver.connected.send([])) == []
    assert list(receiver.cut_off.send([])) == []


def test_repeats_are_harmless(receiver: Receiver) -> None:
    assert receiver.connected.send(ITEMS) == receiver.connected.send(ITEMS) == [Accepted()] * 3


def test_items_are_kept_with_a_reason_when_the_receiver_is_away(receiver: Receiver) -> None:
    outcomes = receiver.cut_off.send(ITEMS)
    assert len(outcomes) == 3
    assert all(isinstance(outcome, Keep) and outcome.reason for outcome in outcomes)
