"""Sends what was measured of jobs, samples and summaries, to a jobmeter server (`/v2/samples`, `/v2/summaries`).

A server without a sample store says 404; then the item is rejected with that reason, as it would never be taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import msgspec

from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.peer import Answer, Peer, PeerAway, bearer
from jobmeter.sinks.server import BODY_MAX_BYTES, retry_after_seconds
from jobmeter.sinks.server import Settings as ServerSettings
from jobmeter.wire.measured import SAMPLES, SUMMARY

_PATHS = {SAMPLES: "/v2/samples", SUMMARY: "/v2/summaries"}
_REASON_MAX_CHARACTERS = 500


class Settings(ServerSettings, frozen=True, forbid_unknown_fields=True):
    """Where the server is, and how to talk to it."""


class _Taken(msgspec.Struct):
    accepted: int
    rejected: int = 0


class MeasuredSink:
    """A sink (see `jobmeter.contract.Sink`) whose items are those of `jobmeter.wire.measured`."""

    def __init__(self, settings: Settings) -> None:
        self.batch_limit = min(settings.batch_limit, 200)
        self._peer = Peer(settings.endpoint, headers=bearer(settings.token, settings.token_file))

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """What became of each item."""
        outcomes: list[Outcome] = []
        split = [item.partition(b"\n")[::2] for item in items]
        for word, group in groupby(split, key=lambda each: each[0]):
            bodies = [body for _, body in group]
            outcomes += self._sent(word, bodies)
        return outcomes

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    def _sent(self, word: bytes, bodies: Sequence[bytes]) -> list[Outcome]:
        path = _PATHS.get(word)
        if path is None:
            return [Rejected(f"there is no kind of item {word[:20]!r}")] * len(bodies)
        if len(bodies) > 1 and sum(map(len, bodies)) > BODY_MAX_BYTES:
            middle = len(bodies) // 2
            return [*self._sent(word, bodies[:middle]), *self._sent(word, bodies[middle:])]
        try:
            answer = self._peer.exchange("POST", path, b"[" + b",".join(bodies) + b"]")
        except (PeerAway, OSError) as fault:
            return [Keep(reason=str(fault))] * len(bodies)
        if answer.status in (400, 413) and len(bodies) > 1:
            return [outcome for body in bodies for outcome in self._sent(word, [body])]
        return [_judged(answer)] * len(bodies)


def open_sink(settings: Settings) -> MeasuredSink:
    """The sink for a server. Raises TlsFilesUnusable; whether the server is there shows at the first `send`."""
    return MeasuredSink(settings)


def _judged(answer: Answer) -> Outcome:
    if answer.status == 200:
        try:
            msgspec.json.decode(answer.body, type=_Taken)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Keep(reason="the answer is not understood")
        return Accepted()
    told = answer.body[:_REASON_MAX_CHARACTERS].decode("utf-8", "replace").strip() or "no details"
    if answer.status in (400, 404, 405, 413):
        return Rejected(f"status {answer.status}: {told}")
    return Keep(retry_after_seconds(answer.headers), f"status {answer.status}: {told}")
