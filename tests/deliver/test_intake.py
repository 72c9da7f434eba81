"""What anybody may send to a gatherer: no message ends it, and what is in a readable one comes back out of its log."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from jobmeter.deliver.intake import Intake, Origin
from jobmeter.deliver.memory_log import MemoryLog
from jobmeter.deliver.streams import Streams
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.wire.colmet import FORMATS, HEAD, STAMP_SECONDS_MAX, decode, size_bytes
from jobmeter.wire.frame import Head, decode_frame, encode_frame
from tests.sinks.samples.given import START

WIDE = st.integers(0, 2**64 - 1) | st.sampled_from([0, 2**31, 2**62, 2**63, 2**64 - 1, STAMP_SECONDS_MAX])


def taking() -> tuple[Intake, MemoryLog]:
    log = MemoryLog(2**30)
    return Intake(log, Streams(), Origin()), log


def logged(log: MemoryLog) -> list[Sample]:
    entries = log.reader(1).take(10**6).entries
    return [sample for entry in entries for sample in decode_frame(entry.body)[1].samples]


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """A record of a class of Colmet's, with any bytes for its counters."""
    kind = draw(st.sampled_from(sorted(FORMATS)))
    head = struct.pack(HEAD, kind.encode(), draw(st.binary(max_size=255)), draw(WIDE), draw(WIDE))
    filling = draw(st.binary(min_size=1, max_size=40))
    wanted = size_bytes(kind) - len(head)
    return head + (filling * wanted)[:wanted]


@given(st.lists(records(), min_size=1, max_size=4), st.binary(max_size=20))
def test_a_message_of_colmet_ends_nothing_whatever_its_numbers(given_records: list[bytes], rest: bytes) -> None:
    intake, log = taking()
    message = b"".join(given_records) + rest
    assert intake.take(message) is None
    decoded = decode(message)
    assert intake.counts.unreadable == 0
    assert intake.counts.cut == (decoded.fault is not None)
    assert [sample.node for sample in logged(log)] == [record.host for record in decoded.records]


@given(st.lists(st.integers(-(2**63), 2**64 - 1) | st.floats(), max_size=3), WIDE, WIDE, WIDE)
def test_a_frame_ends_nothing_whatever_its_numbers(
    values: list[int | float], at: int, stream: int, sequence: int
) -> None:
    intake, log = taking()
    is_time = at < 2**63
    names = tuple(f"m{number}" for number in range(len(values)))
    sample = Sample("cgroup", "n1", None, at, names, tuple(values))
    frame = encode_frame(Head("n1", stream, sequence), SampleBatch("n1", (sample,)))
    assert intake.take(frame) is not None
    assert intake.counts.unreadable == (not is_time)
    assert [found.time_ns for found in logged(log)] == [at][:is_time]


def test_a_record_of_no_time_is_left_out_and_counted_and_the_others_stand() -> None:
    intake, log = taking()
    kind, size = "perfhwstats_default", size_bytes("perfhwstats_default")
    stamps = (START, 2**63, START + 1)
    heads = [struct.pack(HEAD, kind.encode(), b"n1", 7, stamp) for stamp in stamps]
    intake.take(b"".join(head.ljust(size, b"\0") for head in heads))
    assert [sample.time_ns for sample in logged(log)] == [START * 10**9, (START + 1) * 10**9]
    assert intake.counts.cut == 1


class _Broken(MemoryLog):
    def append(self, body: bytes, weight: int) -> int:
        raise RuntimeError(f"a fault of our own at {len(body)} bytes of {weight}")


def test_a_fault_of_our_own_costs_that_message_and_its_sender_is_told() -> None:
    intake = Intake(_Broken(2**20), Streams(), Origin())
    frame = encode_frame(Head("n1", 1, 1), SampleBatch("n1", (Sample("s", "n1", None, 1, ("m",), (1,)),)))
    assert intake.take(frame) is not None
    assert intake.counts.unreadable == 1
