from __future__ import annotations

import pytest

from jobmeter.wire.verdict import BadVerdicts, Verdict, decode_verdicts, encode_verdicts


def test_verdicts_come_back_as_they_were_told() -> None:
    told = [Verdict("new"), Verdict("conflict", "stop_time", "differs"), Verdict("same"), Verdict("invalid")]
    body = encode_verdicts(told)
    assert decode_verdicts(body) == told
    assert body.startswith(b'{"outcomes":[{"outcome":"new"},{"outcome":"conflict","field":"stop_time"')


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"outcomes":[{"outcome":"other"}]}', b"\xff", b"[" * 100_000])
def test_what_is_no_such_answer_is_told(body: bytes) -> None:
    with pytest.raises(BadVerdicts):
        decode_verdicts(body)
