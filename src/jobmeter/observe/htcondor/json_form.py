"""The history as `condor_history -json` prints it: a list of objects, read piece by piece.

An expression stands there unevaluated, as the text `/Expr(...)/`, and a list or record as such.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from jobmeter.contract import Refused
from jobmeter.observe.htcondor.job import Job, Value

ENTRY_MAX_CHARACTERS = 16 * 2**20
"""No entry is longer; what is, is no list of jobs."""

_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*+("?)|[{}]')
_PUNCTUATION = "[], \t\r\n"
_EXPRESSION = re.compile(r"/Expr\(.*\)/", re.DOTALL)


class NotLiteral(Exception):  # noqa: N818 - the name says the fact
    """An attribute that is needed holds an expression, a list or a record: it has to be asked for evaluated."""


class Broken(Exception):  # noqa: N818
    """The output ended within the list, or is none; the message says which."""


def parse(chunks: Iterable[bytes], needed: frozenset[str]) -> Iterator[Job | Refused]:
    """The entries, in the order printed. `needed` names, in lower case, the attributes that must be literal.

    Raises NotLiteral, and Broken when the output ends before its list does.
    """
    for raw in objects(chunks):
        try:
            found = json.loads(raw, strict=False)
        except (ValueError, RecursionError) as fault:
            yield Refused(raw, f"the entry is not valid JSON: {fault}")
            continue
        if isinstance(found, dict):
            yield Job(_values(found, needed), raw)
        else:
            yield Refused(raw, "the entry is not an object")


def objects(chunks: Iterable[bytes]) -> Iterator[str]:
    """The text of each object of the list, and whatever else stands between them. Raises Broken."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    text, at, start, depth = "", 0, 0, 0
    for chunk in chunks:
        text, at, start = text[start:] + decode(chunk), at - start, 0
        while (token := _TOKEN.search(text, at)) is not None:
            if token[1] == "" and text[token.end() :] in ("", "\\"):
                break  # a text that may go on in the next piece
            at = token.end()
            if token[0] == "{":
                if depth == 0:
                    if between := text[start : token.start()].strip(_PUNCTUATION):
                        yield between
                    start = token.start()
                depth += 1
            elif token[0] == "}" and depth:
                depth -= 1
                if depth == 0:
                    yield text[start:at]
                    start = at
        at = len(text) if token is None else token.start()
        if len(text) - start > ENTRY_MAX_CHARACTERS:
            raise Broken("an entry is longer than that of any job")
    if depth or not text[start:].rstrip().endswith("]"):
        raise Broken("the output ended in the middle of its list")
    if between := text[start:].strip(_PUNCTUATION):
        yield between


def _values(found: dict[str, Any], needed: frozenset[str]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, value in found.items():
        key = name.lower()
        if isinstance(value, dict | list) or (isinstance(value, str) and _EXPRESSION.fullmatch(value)):
            if key in needed:
                raise NotLiteral(name)
        elif value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            values[key] = value
    return values
