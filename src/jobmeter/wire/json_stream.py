"""JSON objects one after the other, as `GET /records` answers: on lines, or back to back as AUDITOR sends them."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

OBJECT_MAX_CHARACTERS = 2**23

_scan = json.JSONDecoder().raw_decode
_BLANK = re.compile(r"[ \t\r\n]*")


class BadStream(ValueError):  # noqa: N818 - what it is, not that it is an error
    """Not a sequence of JSON objects, or one that ends within an object; the message says where."""


def objects(pieces: Iterable[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object as its own text and its value, in order, while the pieces come. Raises BadStream."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest = ""
    number = 0
    try:
        for piece in pieces:
            rest += decoder.decode(piece)
            position = 0
            for text, value, end in _whole(rest, number):
                yield text, value
                number, position = number + 1, end
            rest = rest[position:]
            if len(rest) > OBJECT_MAX_CHARACTERS:
                raise BadStream(f"object {number + 1} is malformed or has more than {OBJECT_MAX_CHARACTERS} characters")
        rest += decoder.decode(b"", final=True)
    except UnicodeDecodeError as fault:
        raise BadStream(f"object {number + 1} is not UTF-8: {fault.reason}") from None
    if rest.strip():
        raise BadStream(f"the text ends within object {number + 1}, or that is malformed: {rest[:60]!r}")


def _whole(text: str, number: int) -> Iterator[tuple[str, dict[str, Any], int]]:
    """The objects that stand complete at the beginning of `text`, each with the place where it ends."""
    position = _start(text, 0)
    while position < len(text):
        if text[position] != "{":
            raise BadStream(f"object {number + 1} is not there, instead: {text[position : position + 60]!r}")
        try:
            value, end = _scan(text, position)
        except json.JSONDecodeError:
            return
        except RecursionError:
            raise BadStream(f"object {number + 1} is nested too deeply") from None
        yield text[position:end], value, end
        number += 1
        position = _start(text, end)


def _start(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return position if match is None else match.end()
