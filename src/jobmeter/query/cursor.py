"""Cursors: a place in the answer to a question, as text that a client hands back unread.

A cursor belongs to the question that it came with: the same filters and the same order, whatever the limit and whatever
the asker may see. It is no secret and gives no rights.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jobmeter.model.question import Column, Position, Question, Scope
from jobmeter.query.fault import BadQuery

CURSOR_MAX_CHARACTERS = 8192
"""A record id's key has at most 1,092 bytes, six characters each where JSON escapes them."""

_INT64 = 2**63


class _Content(Struct, frozen=True, array_like=True):
    version: int
    question: str
    value: int | str | None
    seq: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Content).decode


def cursor_of(question: Question, place: Position) -> str:
    """The cursor for what stands behind `place` in the answer to `question`."""
    content = _encode(_Content(1, _mark(question), place.value, place.seq))
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def place_of(question: Question, cursor: str) -> Position:
    """The place that `cursor` means. Raises BadQuery when it is none, or came with another question."""
    if len(cursor) > CURSOR_MAX_CHARACTERS:
        raise BadQuery("cursor", "is longer than any that this server gives")
    try:
        content = _decode(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        raise BadQuery("cursor", "is none that this server gave") from None
    if content.question != _mark(question):
        raise BadQuery("cursor", "came with another question: keep filters and order while paging")
    by_id = question.order.column is Column.RECORD_ID
    fits = isinstance(content.value, str) if by_id else not isinstance(content.value, str)
    small = not isinstance(content.value, int) or -_INT64 <= content.value < _INT64
    sound = not isinstance(content.value, str) or "\0" not in content.value
    if content.version != 1 or not (sound and fits and small and 0 <= content.seq < _INT64):
        raise BadQuery("cursor", "is none that this server gave")
    return Position(content.value, content.seq)


def _mark(question: Question) -> str:
    asked = replace(question, scope=Scope.everything(), limit=None, after=None)
    return hashlib.blake2b(_encode(asked), digest_size=6).hexdigest()
