from __future__ import annotations

import random
import struct
import zlib

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.wire.frame import (
    BODY_MAX_BYTES,
    Answer,
    BadFrame,
    Head,
    UnknownVersion,
    Verdict,
    decode_answer,
    decode_frame,
    encode_answer,
    encode_frame,
    read_head,
)

HEAD = Head("n1", 2**63 + 5, 17, 3)
JOB = JobIdentity("oar", "", "1000")
OTHER = JobIdentity("slurm", "alpha", "7_1", 2)
START = 1_700_000_000_000_000_000
METRICS = (Metric("cpu_usage", "nanoseconds", Kind.COUNTER, "CPU."), Metric("power", "watts", Kind.GAUGE, "Power."))
BATCH = SampleBatch(
    "n1",
    (
        Sample("cgroup", "n1", JOB, START, ("cpu_usage",), (2**63 + 1,), since_ns=START - 5),
        Sample("cgroup", "n1", OTHER, START + 3, ("cpu_usage",), (None,)),
        Sample("ipmi", "n1", None, START - 9, ("power",), (312.5,), "psu-0", None, (JOB, OTHER)),
    ),
    METRICS,
    (JobEnd(OTHER, "n1", START + 8),),
)


def test_a_frame_gives_back_what_went_in() -> None:
    assert decode_frame(encode_frame(HEAD, BATCH, with_help=True)) == (HEAD, BATCH)


def test_without_help_a_frame_still_tells_unit_and_kind_of_every_metric() -> None:
    _, back = decode_frame(encode_frame(HEAD, BATCH))
    assert [(metric.name, metric.unit, metric.kind, metric.help) for metric in back.metrics] == [
        ("cpu_usage", "nanoseconds", Kind.COUNTER, ""),
        ("power", "watts", Kind.GAUGE, ""),
    ]


jobs = st.builds(JobIdentity, st.text(max_size=5), st.text(max_size=5), st.text(max_size=9), st.integers(0, 2**31))
numbers = st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    values = draw(st.lists(numbers, max_size=4))
    return Sample(
        draw(st.text(max_size=6)),
        draw(st.sampled_from(["n1", "n2", "ñ"])),
        draw(st.none() | jobs),
        draw(st.integers(0, 2**62)),
        tuple(f"m{place}" for place in range(len(values))),
        tuple(values),
        draw(st.text(max_size=6)),
        draw(st.none() | st.integers(0, 2**62)),
        tuple(draw(st.lists(jobs, max_size=3))),
    )


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(samples(), max_size=8))
def test_any_batch_comes_back(given_samples: list[Sample]) -> None:
    batch = SampleBatch("n1", tuple(given_samples))
    assert decode_frame(encode_frame(HEAD, batch))[1] == batch


def test_twenty_jobs_take_less_than_a_tenth_of_colmets_message() -> None:
    names = tuple(f"taskstats_metric_{number}" for number in range(30))
    catalogue = tuple(Metric(name, "count", Kind.COUNTER, "") for name in names)
    chance = random.Random(1)
    many = tuple(
        Sample(
            "taskstats", "n1", JobIdentity("oar", "", str(job)), START, names, tuple(chance.choices(range(10**9), k=30))
        )
        for job in range(20)
    )
    assert len(encode_frame(HEAD, SampleBatch("n1", many, catalogue))) < (9202 + 20 * 762) / 5


@given(st.binary(max_size=300))
def test_junk_is_refused_and_nothing_else(junk: bytes) -> None:
    for message in (junk, b"\x93JMF" + junk, b"\x93JMF\x01" + junk):
        with pytest.raises(BadFrame):
            decode_frame(message)
        with pytest.raises(BadFrame):
            decode_answer(message)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, change: int) -> None:
    frame = bytearray(encode_frame(HEAD, BATCH))
    frame[place % len(frame)] ^= change
    with pytest.raises(BadFrame):
        decode_frame(bytes(frame))


def test_every_cut_is_noticed() -> None:
    frame = encode_frame(HEAD, BATCH)
    for length in range(len(frame)):
        with pytest.raises(BadFrame):
            decode_frame(frame[:length])


def test_an_unknown_version_is_told_as_such() -> None:
    frame = bytearray(encode_frame(HEAD, BATCH))
    frame[4] = 9
    with pytest.raises(UnknownVersion, match="version 9"):
        read_head(bytes(frame))


def _frame_of(body: object, plain: int | None = None) -> bytes:
    raw = msgspec.msgpack.encode(body)
    packed = zlib.compress(raw)
    size = len(raw) if plain is None else plain
    numbers = struct.pack("<QQQ", HEAD.stream, HEAD.sequence, 0)
    crc = zlib.crc32(packed, zlib.crc32(b"n1", zlib.crc32(numbers)))
    return struct.pack("<4sBBHII", b"\x93JMF", 1, 1, 2, size, crc) + numbers + b"n1" + packed


def _body(**changed: object) -> dict[str, object]:
    empty: dict[str, object] = dict.fromkeys(
        ("nodes", "catalogue", "names", "shapes", "jobs", "lists", "samples", "ends"), ()
    )
    return {**empty, "start_ns": 0, **changed}


def test_a_small_message_that_unpacks_to_much_is_refused() -> None:
    bomb = _frame_of("x" * (BODY_MAX_BYTES + 1), plain=BODY_MAX_BYTES)
    assert len(bomb) < 20_000
    with pytest.raises(BadFrame):
        decode_frame(bomb)


@pytest.mark.parametrize(
    "changed",
    [
        {"samples": [(0, 0, None, 0, None, "", None, ())]},
        {"nodes": ["n1"], "shapes": [("s", (0,))]},
        {"nodes": ["n1"], "names": ["a"], "shapes": [("s", (0,))], "samples": [(0, 0, None, 0, None, "", None, ())]},
        {"nodes": ["n1"], "shapes": [("s", ())], "samples": [(0, 0, 4, 0, None, "", None, ())]},
        {"nodes": ["n1"], "shapes": [("s", ())], "samples": [(0, -1, None, 0, None, "", None, ())]},
        {"catalogue": [("a", "count", "guess", "")]},
        {"lists": [[3]]},
        {"nodes": ["n1"], "shapes": [("s", ())], "samples": [(0, 0, None, 0, None, "", None, ())] * 65_537},
    ],
)
def test_a_body_that_contradicts_itself_is_refused(changed: dict[str, object]) -> None:
    assert decode_frame(_frame_of(_body()))[1].samples == ()
    with pytest.raises(BadFrame):
        decode_frame(_frame_of(_body(**changed)))


def test_an_answer_comes_back() -> None:
    for verdict in Verdict:
        answer = Answer(verdict, 2**64 - 1, 2**63)
        assert decode_answer(encode_answer(answer)) == answer
