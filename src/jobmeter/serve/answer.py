"""Answers, as raw ASGI messages: the hot paths do not pay for response objects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

import msgspec

from jobmeter.serve.protocol import break_off

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

UNANSWERED = 0
"""The status that stands for a connection closed without an answer."""

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
RECORD_EXISTS = b"RECORD_EXISTS"
"""The one body that AUDITOR's clients look for."""


class Endpoint(Protocol):
    """Serves one operation and returns the status that it answered, or UNANSWERED."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer the request in `scope`."""
        ...


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The JSON body of a refusal: a sentence, and where one field is to blame its path and the reason."""

    error: str
    field: str | None = None
    reason: str | None = None
    record_id: str | None = None


_encode = msgspec.json.Encoder().encode
_EMPTY_START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
_EMPTY_BODY: Message = {"type": "http.response.body", "body": b""}


async def send_done(send: Send) -> int:
    """200 with an empty body, the answer of AUDITOR to every accepted write."""
    await send(_EMPTY_START)
    await send(_EMPTY_BODY)
    return 200


async def send_bytes(
    send: Send, status: int, body: bytes, content_type: bytes | None = None, headers: Iterable[Header] = ()
) -> int:
    """A whole answer."""
    lines = [(b"content-length", str(len(body)).encode()), *headers]
    if content_type is not None:
        lines.append((b"content-type", content_type))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
    return status


async def send_json(send: Send, status: int, value: object, headers: Iterable[Header] = ()) -> int:
    """A whole answer in JSON."""
    return await send_bytes(send, status, _encode(value), JSON, headers)


async def send_away(send: Send, sentence: str) -> int:
    """503: what was asked cannot be done now and may be asked again."""
    return await send_json(send, 503, Problem(sentence), [(b"retry-after", b"5")])


async def close_unanswered(scope: Scope, receive: Receive) -> int:
    """Close the connection without an answer: the clients that ignore a status do notice that."""
    break_off(scope)
    while (await receive())["type"] != "http.disconnect":
        pass
    return UNANSWERED
