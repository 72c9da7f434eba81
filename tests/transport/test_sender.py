"""Nodes and gatherers over real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import pytest
import zmq
from msgspec import structs

from jobmeter.deliver.memory_log import MemoryLog
from jobmeter.transport.backlog import Bounds
from jobmeter.transport.colmet import ColmetMessages
from jobmeter.transport.curve import make_keys, read_keys, read_public_keys
from jobmeter.transport.gate import CannotListen, Gate, GateSettings
from jobmeter.transport.sender import Sender, SenderSettings
from jobmeter.wire.frame import Head, encode_frame
from tests.process import eventually
from tests.transport.given import ANYWHERE, batch, gathering


def test_a_frame_arrives_and_is_acknowledged() -> None:
    with gathering() as there:
        sender = Sender(SenderSettings((there.acknowledged,)), "n1")
        for number in range(200):
            sender.offer(batch(number))
        eventually(lambda: sender.tally.sent == 200)
        sender.close(0)
        assert there.values() == list(range(200))
    assert sender.waiting == 0


@pytest.mark.parametrize("wire", ["jobmeter", "colmet"])
def test_without_acknowledgement_both_forms_arrive_at_one_port(wire: str) -> None:
    with gathering() as there:
        settings = SenderSettings((there.plain,), acknowledge=False)
        sender = Sender(settings, "n1", colmet=ColmetMessages() if wire == "colmet" else None)
        metrics = ("taskstats_cpu_count",)
        for number in range(20):
            (sample,) = batch(number).samples
            fields = (sample.node, sample.job, sample.time_ns, metrics, sample.values)
            sender.offer(batch(number).__class__("n1", (sample.__class__("taskstats", *fields),)))
        eventually(lambda: there.intake.counts.samples == 20)
        sender.close(1)
        counts = there.intake.counts
        assert (counts.frames, counts.colmet_messages) == ((20, 0) if wire == "jobmeter" else (0, 20))


@pytest.mark.parametrize(("kind", "way"), [(zmq.PUSH, 0), (zmq.DEALER, 1)])
def test_what_a_gatherer_has_not_taken_yet_waits_at_the_node_and_not_in_its_memory(kind: int, way: int) -> None:
    """Messages of a mebibyte: but for a few, and for what the kernel holds, they stay with who sends them."""
    taken: list[int] = []
    gate = Gate(ANYWHERE, lambda message: taken.append(len(message)), lambda: None)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    outlet = context.socket(kind)
    outlet.sndhwm = 1
    outlet.connect(gate.addresses[way])
    sent = 0
    while outlet.poll(1000, zmq.POLLOUT):
        outlet.send(bytes(2**20), zmq.NOBLOCK)
        sent += 1
        assert sent < 60
    stop = threading.Event()
    thread = threading.Thread(target=gate.run, args=(stop,))
    thread.start()
    eventually(lambda: len(taken) == sent)
    outlet.close(0)
    stop.set()
    thread.join()
    gate.close()
    context.term()


def test_while_the_gatherer_is_away_nothing_is_lost_and_nothing_blocks(tmp_path: Path) -> None:
    settings = SenderSettings(("tcp://127.0.0.1:1",), spool_folder=tmp_path, bounds=Bounds(memory_bytes=20_000))
    sender = Sender(settings, "n1")
    for number in range(3600):
        sender.offer(batch(number))
        if number % 200 == 0:
            eventually(lambda: not sender._inbox)
    eventually(lambda: sender.waiting == 3600)
    sender.close(0)
    assert sender.tally.dropped == 0
    with gathering() as there:
        again = Sender(SenderSettings((there.acknowledged,), spool_folder=tmp_path), "n1")
        again.offer(batch(3600))
        eventually(lambda: again.tally.sent == 3601)
        again.close(0)
        assert there.values() == list(range(3601))
        assert there.intake.streams.missing_frames() == 0


def test_what_goes_over_all_bounds_is_dropped_and_the_gatherer_gets_to_know() -> None:
    settings = SenderSettings(("tcp://127.0.0.1:1",), bounds=Bounds(memory_bytes=10_000))
    sender = Sender(settings, "n1")
    for number in range(500):
        sender.offer(batch(number))
        eventually(lambda: not sender._inbox)
    eventually(lambda: sender.tally.dropped > 300)
    eventually(lambda: sender.waiting == 500 - sender.tally.dropped)
    sender.close(0)


def test_a_gatherer_that_comes_back_gets_what_it_had_not_answered_and_knows_repeats() -> None:
    log = MemoryLog(2**30)
    with gathering(ANYWHERE, log) as there:
        address = there.acknowledged
        sender = Sender(SenderSettings((address,), answer_seconds=1), "n1")
        sender.offer(batch(1))
        eventually(lambda: sender.tally.sent == 1)
    for number in range(2, 50):
        sender.offer(batch(number))
    settings = GateSettings(None, address)
    with gathering(settings, log) as back:
        eventually(lambda: sender.tally.sent == 49)
        sender.close(0)
        assert back.values() == list(range(1, 50))


def test_the_next_gatherer_of_the_list_takes_over() -> None:
    with gathering() as second:
        with gathering() as first:
            sender = Sender(SenderSettings((first.acknowledged, second.acknowledged), answer_seconds=0.5), "n1")
            sender.offer(batch(1))
            eventually(lambda: sender.tally.sent == 1)
            taken = first.values()
        for number in range(2, 30):
            sender.offer(batch(number))
        eventually(lambda: sender.tally.sent == 29)
        sender.close(0)
        # Where the first was held up for long, the second may have taken over sooner.
        assert second.values()[-28:] == list(range(2, 30))
        assert 1 in [*taken, *second.values()]
        assert sender.tally.switched >= 1


def test_with_curve_only_known_nodes_and_the_right_gatherer_talk(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    gatherer, known, stranger = tmp_path / "gatherer", tmp_path / "nodes" / "n1", tmp_path / "stranger"
    for file in (gatherer, known, stranger):
        make_keys(file)
    keys = read_keys(gatherer, with_secret=True)
    settings = GateSettings(None, "tcp://127.0.0.1:*", keys=keys, allowed=tuple(read_public_keys(tmp_path / "nodes")))
    with gathering(settings) as there:
        public = read_keys(gatherer.with_name("gatherer.public"), with_secret=False)

        def sender_with(file: Path) -> Sender:
            own = read_keys(file, with_secret=True)
            return Sender(SenderSettings((there.acknowledged,), keys=own, gatherer_key=public), "n1")

        strange, plain, good = (
            sender_with(stranger),
            Sender(SenderSettings((there.acknowledged,)), "n1"),
            sender_with(known),
        )
        for number, sender in enumerate((strange, plain, good)):
            sender.offer(batch(number))
        eventually(lambda: good.tally.sent == 1)
        eventually(lambda: there.gate.counts.refused >= 2)
        assert there.values() == [2]
        assert (strange.tally.sent, plain.tally.sent) == (0, 0)
        for sender in (strange, plain, good):
            sender.close(0)


def _pushed(address: str, messages: list[bytes]) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.connect(address)
    for message in messages:
        push.send(message)
    push.close(5000)
    context.term()


def test_junk_cut_and_unknown_messages_are_counted_and_the_rest_arrives(tmp_path: Path) -> None:
    good = encode_frame(Head("n1", 5, 1), batch(7))
    with gathering() as there:
        _pushed(there.plain, [b"", b"\0", b"junk" * 1000, good[:-3], good[:4] + b"\x07" + good[5:], good])
        eventually(lambda: there.intake.counts.frames == 1)
        counts = there.intake.counts
        assert (counts.unreadable, counts.unknown_version) == (3, 1)
        assert there.values() == [7]


def test_a_port_scan_disturbs_nobody() -> None:
    with gathering() as there:
        for address in (there.plain, there.acknowledged):
            port = int(address.rpartition(":")[2])
            for text in (
                b"",
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
                b"\xff" + bytes(8) + b"\x7f" + b"x" * 500,
                b"\x16\x03\x01" + bytes(100),
            ):
                with socket.create_connection(("127.0.0.1", port)) as probe:
                    probe.sendall(text)
                    probe.settimeout(0.2)
                    with contextlib.suppress(TimeoutError, ConnectionError):
                        probe.recv(100)
        sender = Sender(SenderSettings((there.acknowledged,)), "n1")
        sender.offer(batch(1))
        eventually(lambda: sender.tally.sent == 1)
        sender.close(0)
        eventually(lambda: there.gate.counts.refused + there.intake.counts.unreadable > 0)
        assert there.values() == [1]


def test_an_address_that_is_taken_is_told() -> None:
    with gathering() as there, pytest.raises(CannotListen, match=r"127\.0\.0\.1"):
        Gate(GateSettings(there.plain, None), there.intake.take, there.log.sync)


def test_a_message_that_is_too_long_is_not_even_read() -> None:
    with gathering() as there:
        _pushed(there.plain, [bytes(17 * 2**20)])
        _pushed(there.plain, [encode_frame(Head("n1", 5, 1), batch(7))])
        eventually(lambda: there.intake.counts.frames == 1)
        assert there.intake.counts.unreadable == 0


class _Full(MemoryLog):
    def __init__(self) -> None:
        super().__init__(2**30)
        self.is_full = False

    def append(self, body: bytes, weight: int) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().append(body, weight)


def test_a_gatherer_without_room_takes_nothing_and_loses_nothing() -> None:
    log = _Full()
    with gathering(log=log) as there:
        log.is_full = True
        sender = Sender(SenderSettings((there.acknowledged,), answer_seconds=0.5), "n1")
        for number in range(100):
            sender.offer(batch(number))
        eventually(lambda: there.intake.counts.refused_no_room > 50)
        assert sender.tally.sent == 0
        log.is_full = False
        eventually(lambda: sender.tally.sent == 100)
        sender.close(0)
        assert there.values() == list(range(100))


def test_a_number_beyond_64_bits_costs_no_other_value() -> None:
    with gathering() as there:
        sender = Sender(SenderSettings((there.acknowledged,)), "n1")
        (sample,) = batch(1).samples
        samples = tuple(structs.replace(sample, values=(value,)) for value in (2**64, 7, -(2**63) - 1))
        sender.offer(structs.replace(batch(1), samples=samples))
        eventually(lambda: sender.tally.sent == 3)
        sender.close(0)
        assert there.values() == [None, 7, None]
