"""The history as `condor_history -af:V` prints it: evaluated values, texts in double quotes.

Neither blanks nor quotes tell where a value ends, as both may stand in one, and a backslash at the end of a text looks
as if it escaped the quote after it. So every value is asked for between constants that nobody can know beforehand.
"""

from __future__ import annotations

import codecs
import math
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from jobmeter.contract import Refused
from jobmeter.observe.htcondor.job import Job, Value, folded

ENTRY_MAX_CHARACTERS = 16 * 2**20

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_REAL = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NO_VALUE = frozenset({"undefined", "error"})
_DIGITS_MAX = 40


class Frame(Struct, frozen=True):
    """The constants before an entry and before each further value."""

    entry: str
    value: str


def new_frame() -> Frame:
    """A frame that no value of a job can hold, as it is made anew for every call."""
    token = secrets.token_hex(12)
    return Frame(f'"entry-{token}"', f'"value-{token}"')


def arguments(keys: Sequence[str], frame: Frame) -> list[str]:
    """What follows `-af:V`: the keys, which may be expressions, each after its constant."""
    words = []
    for number, key in enumerate(keys):
        words += [frame.value if number else frame.entry, key]
    return words


def parse(chunks: Iterable[bytes], keys: Sequence[str], frame: Frame) -> Iterator[Job | Refused]:
    """The entries, in the order printed; `keys` as they were given to `arguments`."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    begin, text = f"{frame.entry} ", ""
    for chunk in chunks:
        *whole, text = (text + decode(chunk)).split(begin)
        if len(text) > ENTRY_MAX_CHARACTERS:
            whole, text = [*whole, text], ""
        yield from (_entry(part, keys, frame) for part in whole if part.strip())
    if text.strip():
        yield _entry(text, keys, frame)


def literal(text: str) -> Value | None:
    """The value that HTCondor printed so: None for undefined and error, a list or record as its text."""
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        return text[1:-1].replace('\\"', '"')
    if text in _NO_VALUE:
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text) and len(text) <= _DIGITS_MAX:
        return int(text)
    if _REAL.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    return None if text.startswith('real("') else text


def _entry(text: str, keys: Sequence[str], frame: Frame) -> Job | Refused:
    parts = text.removesuffix("\n").split(f" {frame.value} ")
    shown = " | ".join(parts)
    if len(parts) != len(keys):
        return Refused(shown, f"the entry has {len(parts)} values instead of {len(keys)}")
    found = ((folded(key), literal(part)) for key, part in zip(keys, parts, strict=True))
    return Job({key: value for key, value in found if value is not None}, shown)
