"""What the server offers beyond AUDITOR's API: `POST /v2/records` and `GET /v2/dead-letters`.

Clients of these paths read the status: 503 with `Retry-After` means that everything may be sent again.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from urllib.parse import parse_qsl

from msgspec import Struct

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.model.letter import DeadLetter
from jobmeter.serve.answer import JSON, UNANSWERED, Problem, Receive, Scope, Send, send_away, send_bytes, send_json
from jobmeter.serve.asker import asker_of
from jobmeter.serve.body import BodyRefused, Disconnected, read_body
from jobmeter.serve.bulk import REFUSED, Item, Judged, decoded, decoded_lines, granted, judge, raw_elements
from jobmeter.serve.disputes import Disputes
from jobmeter.serve.letterbox import Letterbox, origin_of
from jobmeter.serve.meter import Fate, Meter
from jobmeter.serve.reads import Readers
from jobmeter.serve.settings import ServeSettings
from jobmeter.wire.auditor import BadRecord
from jobmeter.wire.verdict import Verdict, encode_verdicts

log = logging.getLogger("jobmeter.serve")

LETTERS_DEFAULT = 20
LETTERS_MAX = 100
BODIES_BYTES_MAX = 8 * 2**20
"""Bodies beyond this many bytes of one answer are cut short, and marked."""


class Letter(Struct, frozen=True):
    """A dead letter as listed: `body` where it is text, else `body_base64`; `cut` when only its beginning is shown."""

    number: int | None
    origin: str
    reason: str
    received: datetime
    size_bytes: int
    body: str | None
    body_base64: str | None
    cut: bool


class RecordsByOutcome:
    """`POST /v2/records`."""

    def __init__(self, disputes: Disputes, letterbox: Letterbox, settings: ServeSettings, meter: Meter) -> None:
        self._disputes = disputes
        self._letterbox = letterbox
        self._limit_bytes = settings.limits.body_bytes
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Store each record that can be stored and answer with one outcome per record."""
        try:
            try:
                body = await read_body(scope, receive, self._limit_bytes, lines=True)
                judged = await self._judged(scope, body)
            except BodyRefused as refusal:
                await self._letterbox.keep(scope, [(refusal.body, str(refusal))], refusal.size_bytes)
                return await send_json(send, refusal.status, Problem(str(refusal)))
            except BadRecord as fault:
                await self._letterbox.keep(scope, [(body, str(fault))])
                return await send_json(send, 400, Problem(str(fault)))
            self._meter.count(one.outcome for one in judged)
            refused = [one for one in judged if one.outcome in REFUSED]
            await self._letterbox.keep(scope, self._disputes.to_bury(refused))
        except StoreUnavailable as fault:
            log.warning("write.put_off origin=%s reason=%r", origin_of(scope), str(fault))
            return await send_away(send, str(fault))
        except Disconnected:
            return UNANSWERED
        if judged and all(one.outcome is Fate.FORBIDDEN for one in judged):
            return await send_json(send, 403, Problem(f"none of the records may be written: {judged[0].sentence}"))
        verdicts = [Verdict(one.outcome.value, one.field, one.reason) for one in judged]
        return await send_bytes(send, 200, encode_verdicts(verdicts), JSON)

    async def _judged(self, scope: Scope, body: bytes) -> list[Judged]:
        """A body that begins like an array is one; anything else is taken as JSON lines."""
        asker, put = asker_of(scope), partial(self._disputes.put, scope)
        items: Sequence[Item]
        if body.lstrip()[:1] == b"[":
            items = granted(asker, await decoded(body))
            return await judge(put, items, lambda: raw_elements(body))
        lines = [line for line in body.split(b"\n") if line.strip()]
        if not lines:
            raise BadRecord("", "the body is empty")
        items = granted(asker, await decoded_lines(lines, len(body)))
        return await judge(put, items, lambda: lines)


class DeadLetters:
    """`GET /v2/dead-letters?limit=N`."""

    def __init__(self, store: RecordStore, readers: Readers) -> None:
        self._store = store
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """The newest dead letters."""
        del receive
        limit = _limit(scope["query_string"])
        if limit is None:
            return await send_json(send, 400, Problem(f"limit must be a whole number from 1 to {LETTERS_MAX}", "limit"))
        try:
            letters = await self._readers.ask(self._store.letters, limit)
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        return await send_json(send, 200, listed(letters))


def _limit(query: bytes) -> int | None:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    if not pairs:
        return LETTERS_DEFAULT
    if len(pairs) != 1 or pairs[0][0] != "limit":
        return None
    text = pairs[0][1]
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        return None
    return int(text) if 1 <= int(text) <= LETTERS_MAX else None


def listed(letters: Sequence[DeadLetter]) -> list[Letter]:
    """The letters as they are shown, all bodies together within BODIES_BYTES_MAX."""
    room = BODIES_BYTES_MAX
    shown = []
    for letter in letters:
        body = letter.body[:room]
        room -= len(body)
        text = _text(body)
        shown.append(
            Letter(
                letter.number,
                letter.origin,
                letter.reason,
                letter.received,
                letter.size_bytes,
                text,
                base64.b64encode(body).decode() if text is None else None,
                len(body) < letter.size_bytes,
            )
        )
    return shown


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
