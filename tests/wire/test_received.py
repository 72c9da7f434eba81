"""Facility documents as they are posted."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.wire.received import BadDocument, decode_posted

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GOOD: dict[str, dict[str, Any]] = {
    "condorqueue": {
        "queue": "all", "idle": 1995, "running": 1022, "held": 3, "allocated_cores": 966, "allocated_mem": 4145152,
    },
    "ssh": {"ssh_user_count": 1, "login_node": "", "users": ["a"]},
    "condorjob": {"users": "brosser", "state": "finished", "Id": "174100.63", "Runtime": 177},
    "jupyter-ml": {"jupyter_user_count": 0, "users": []},
    "jupyter-coffea": {"jupyter_user_count": 1, "users": ["b"]},
    "DISK": {
        "used": 92355981312, "total": 1883690205184, "free": 1695620259840, "login_node": "",
        "utilization": 0.04902928361459448, "mount": "/scratch",
    },
    "CPU": {"login_node": "", "load": 0.01},
    "NETWORK": {"login_node": "", "network": {"interval": 300.064, "sent": 6606414, "received": 11383868}},
    "MEM": {"login_node": "", "available": 265041854464, "total": 269903060992},
}  # fmt: skip
"""The AF metrics collector's own examples."""


def encoded(kind: str, **changes: Any) -> bytes:
    return json.dumps({"token": "t", "kind": kind, "cluster": "UC-AF", **GOOD.get(kind, {}), **changes}).encode()


def one(body: bytes, key: bytes | None = None) -> Any:
    (posted,) = decode_posted(body, NOW, key)
    return posted


@pytest.mark.parametrize("kind", GOOD)
def test_every_example_is_taken_as_it_is_without_its_token(kind: str) -> None:
    posted = one(encoded(kind))
    assert posted.token == "t"
    assert json.loads(posted.document.body) == {"kind": kind, "cluster": "UC-AF", **GOOD[kind]}
    assert (posted.document.received, posted.document.observed) == (NOW, NOW)


def test_senders_of_other_facilities_and_other_kinds_are_taken() -> None:
    job = {"kind": "condorjob", "cluster": "CERN", "users": ["u_0", "u_1"], "state": "running"}
    posted = decode_posted(json.dumps([job, {**job, "kind": "benchmark", "queueTime": 3}]).encode(), NOW, None)
    assert posted[0].document.users == ("u_0", "u_1")
    assert (posted[1].document.kind, posted[1].token) == ("benchmark", None)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"x", b"[]", b"{}", b"null", b"[1]", b'"text"', b"[" * 100_000,
        encoded("ssh", ssh_user_count=-1), encoded("ssh", ssh_user_count="4"), encoded("ssh", users="alice"),
        encoded("ssh", users=[1]), encoded("condorqueue", idle=1.5), encoded("condorqueue", queue=""),
        encoded("condorjob", users=None), encoded("CPU", load="high"), encoded("CPU", login_node=7),
        encoded("NETWORK", network={}), encoded("DISK", total=-1), encoded("MEM", total=None), encoded(""),
        encoded("x", cluster=""), encoded("x", cluster=None), encoded("x", token=7), encoded("k" * 256),
        encoded("ssh", users=["a\0b"]), encoded("x", cluster="a\0"), encoded("CPU", load=float("nan")),
        encoded("CPU", timestamp="yesterday"), encoded("CPU", timestamp="2026-03-02T12:00:00"),
        encoded("CPU", timestamp="2036-01-01T00:00:00Z"), encoded("CPU", timestamp=-1),
        b"[" + encoded("CPU") + b"," + encoded("CPU", load=None) + b"]", encoded("CPU") + b"x",
        b'{"kind":"x","cluster":"\xff"}', b'{"kind":"x","cluster":"\\ud800"}',
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused_whole(body: bytes) -> None:
    with pytest.raises(BadDocument):
        decode_posted(body, NOW, None)


def test_a_refusal_names_the_document() -> None:
    with pytest.raises(BadDocument, match=r"document 1: .*load"):
        decode_posted(b"[" + encoded("CPU") + b"," + encoded("CPU", load="x") + b"]", NOW, None)


@pytest.mark.parametrize("stamp", ["2026-03-02T11:00:00.000Z", "2026-03-02T12:00:00+01:00", 1772449200000])
def test_a_timestamp_says_when_a_late_document_was_true(stamp: object) -> None:
    document = one(encoded("CPU", timestamp=stamp)).document
    assert document.observed == NOW - timedelta(hours=1)
    assert b"timestamp" not in document.body


def test_a_repeat_is_known_by_the_senders_key_or_by_its_time_and_content() -> None:
    plain = one(encoded("CPU")).document
    assert plain.identity is None
    assert one(encoded("CPU"), b"k").document.identity == one(encoded("CPU"), b"k").document.identity
    assert one(encoded("CPU"), b"k").document.identity != one(encoded("CPU"), b"l").document.identity
    assert one(encoded("CPU"), b"k").document.identity != one(encoded("MEM"), b"k").document.identity
    both = decode_posted(b"[" + encoded("CPU") + b"," + encoded("CPU") + b"]", NOW, b"k")
    assert both[0].document.identity != both[1].document.identity
    stamped = [
        one(encoded("CPU", timestamp="2026-03-02T11:00:00Z"), key).document.identity for key in (b"k", b"l", None)
    ]
    assert len(set(stamped)) == 1
    assert stamped[0] is not None


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_body_does_anything_but_be_taken_or_refused(body: bytes) -> None:
    with contextlib.suppress(BadDocument):
        decode_posted(body, NOW, b"k")
