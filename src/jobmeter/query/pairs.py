"""The form of a query string: `key=value` joined by `&`, keys nested with square brackets.

`a[b][0]=x+y` is the path ("a", "b", "0") with the value "x y". Brackets are structure where they stand literally; then
an encoded one (`%5B`) belongs to the name that it stands in, as AUDITOR's clients write it. A key without any literal
bracket comes from an HTTP library that encodes all of them: there the encoded ones are structure, and a name may hold
brackets in pairs.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from msgspec import Struct

from jobmeter.query.fault import BadQuery, shown

QUERY_MAX_BYTES = 64 * 1024
PAIRS_MAX = 200
"""More conditions than this are refused: SQLite takes 1000 nested terms, and a condition may need several."""


class Pair(Struct, frozen=True):
    """One `key=value`. `key` is the decoded key for messages, cut when long; `path` its names; `value` decoded."""

    key: str
    path: tuple[str, ...]
    value: str


def pairs(query: bytes | str) -> list[Pair]:
    """The pairs of a query string, in order; empty ones between `&` are passed over. Raises BadQuery."""
    if isinstance(query, str):
        query = _encoded(query)
    if len(query) > QUERY_MAX_BYTES:
        raise BadQuery("", f"the query string has {len(query)} bytes, {QUERY_MAX_BYTES} are allowed")
    parts = [part for part in query.split(b"&") if part]
    if len(parts) > PAIRS_MAX:
        raise BadQuery("", f"the query string has {len(parts)} conditions, {PAIRS_MAX} are allowed")
    return [_pair(part) for part in parts]


def _encoded(query: str) -> bytes:
    try:
        return query.encode()
    except UnicodeEncodeError:
        raise BadQuery("", "the query string contains a lone surrogate, which is no character") from None


def _pair(part: bytes) -> Pair:
    raw, _, raw_value = part.partition(b"=")
    key = _decoded(raw, "a key")
    name = shown(key)
    path = tuple(_literal(raw, name)) if b"[" in raw else tuple(_nested(key, name))
    return Pair(name, path, _decoded(raw_value, f"the value of {name}"))


def _decoded(raw: bytes, what: str) -> str:
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise BadQuery("", f"{what} is not valid UTF-8") from None


def _literal(raw: bytes, key: str) -> list[str]:
    """The names of a key whose literal brackets are structure."""
    head, *rest = raw.split(b"[")
    names = [head]
    for piece in rest:
        name, closing, after = piece.partition(b"]")
        if not closing or after:
            raise BadQuery(key, "its brackets do not match")
        names.append(name)
    return [_decoded(name, "a key") for name in names]


def _nested(key: str, shown_key: str) -> list[str]:
    """The names of a decoded key; brackets within a name are in pairs."""
    head, opening, _ = key.partition("[")
    names = [head]
    depth, begin = 0, len(head)
    for at in range(len(head), len(key)) if opening else ():
        depth += {"[": 1, "]": -1}.get(key[at], 0)
        if depth == 0 and key[at] != "]":
            break
        if depth == 0:
            names.append(key[begin + 1 : at])
            begin = at + 1
    if opening and begin != len(key):
        raise BadQuery(shown_key, "its brackets do not match")
    return names
