"""Colmet's messages, against sums of records that the real encoder made."""

from __future__ import annotations

import hashlib

import pytest

from jobmeter.wire.colmet import FORMATS, ColmetRecord, columns, decode, encode, is_colmet, size_bytes, types
from jobmeter.wire.colmet_columns import RECORDS

SIZES = {
    "taskstats_default": 762,
    "procstats_default": 9202,
    "jobprocstats_default": 606,
    "perfhwstats_default": 566,
    "nvidiastats_default": 582,
    "RAPLstats_default": 8910,
    "infinibandstats_default": 8750,
    "lustrestats_default": 8750,
    "ipmipowerstats_default": 8726,
    "temperaturestats_default": 574,
}
TASK = ColmetRecord("taskstats_default", "fakehost.example", 4711, 1700000000, tuple(range(100, 130)))
POWER = ColmetRecord("ipmipowerstats_default", "n1", 0, 1700000000, (312, "[1000, 7]"))
NODE = ColmetRecord("procstats_default", "n1", 0, 1700000000, (*range(1, 59), 1.5, 2.5, 3.5, 4.0, 5.0, "[1000, 7]"))


@pytest.mark.parametrize(
    ("record", "digest"),
    [
        (TASK, "9f81d881c8c47b3dd76efc5796a068f80d1fad174e4c3838c2870b6a2ec171d0"),
        (POWER, "568631cd8d0e5f362823010641b1a26e85709d34f6b69422c5a88fab225a9b4f"),
        (NODE, "39fd4a3f6f4bf83d00b2a58ff30f6464547e76833265753fa0613cce466a4d98"),
    ],
)
def test_a_record_is_byte_for_byte_that_of_the_real_encoder(record: ColmetRecord, digest: str) -> None:
    assert hashlib.sha256(encode([record])).hexdigest() == digest
    assert decode(encode([record])).records == (record,)


def test_every_class_has_its_length_and_a_type_for_every_column() -> None:
    assert {name: size_bytes(name) for name in FORMATS} == SIZES
    assert {record.name for record in RECORDS} == set(FORMATS)
    assert all(len(columns(name)) == len(types(name)) for name in FORMATS)


def test_what_cannot_be_told_is_minus_one_where_there_is_a_sign_and_zero_where_there_is_none() -> None:
    record = ColmetRecord("perfhwstats_default", "n1", 7, 1, (1, None, 3, None, -1))
    (back,) = decode(encode([record])).records
    assert back.values == (1, -1, 3, -1, -1)
    record = ColmetRecord("lustrestats_default", "n1", 0, 1, (None, -5, 2**70, 4, None))
    (back,) = decode(encode([record])).records
    assert back.values == (0, 0, 2**64 - 1, 4, "[]")


def test_a_list_of_jobs_that_is_too_long_ends_after_a_whole_id() -> None:
    ids = str(list(range(1_000_000, 1_002_000)))
    (back,) = decode(encode([ColmetRecord("ipmipowerstats_default", "n1", 0, 1, (1, ids))])).records
    text = str(back.values[-1])
    assert len(text) <= 8192
    assert text.startswith("[1000000, 1000001, ")
    assert eval(text)[-1] > 1_000_800


@pytest.mark.parametrize("cut", [1, 254, 255, 500, 761])
def test_a_cut_record_keeps_those_before_it(cut: int) -> None:
    decoded = decode(encode([POWER, TASK])[: 8726 + cut])
    assert decoded.records == (POWER,)
    assert decoded.fault is not None


def test_an_unknown_class_keeps_what_came_before_it() -> None:
    decoded = decode(encode([TASK]) + b"otherstats_default".ljust(900, b"\0"))
    assert decoded.records == (TASK,)
    assert decoded.fault == "no class of Colmet at byte 762"


def test_junk_is_no_message() -> None:
    assert not is_colmet(b"GET / HTTP/1.1\r\n\r\n")
    assert not is_colmet(b"")
    assert decode(b"\xff" * 5000).records == ()
    assert decode(b"").fault is None
