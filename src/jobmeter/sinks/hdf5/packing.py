"""How the values of a row become the bytes of its layout: numbers and texts apart, as texts are mostly padding."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np
from msgspec import Struct

_LARGEST = 2**63 - 1
_DOUBLE_BYTES = 8
_FORMS = {"<i8": "q", "<f4": "f", "<f8": "d"}


class Span(Struct, frozen=True):
    """Numbers that stand together: where in the row, where among its packed numbers, and how many bytes."""

    at: int
    packed_at: int
    size: int


class Packing:
    """Parts rows of one layout, which has at least two columns of text and two of numbers. None is not known."""

    def __init__(self, layout: np.dtype) -> None:
        self.layout = layout
        self.names = layout.names or ()
        forms = [layout[name] for name in self.names]
        self.texts = tuple(name for name, form in zip(self.names, forms, strict=True) if form.kind == "S")
        numbers = [place for place, form in enumerate(forms) if form.kind != "S"]
        self.spans = _spans(layout, [self.names[place] for place in numbers])
        self._numbers = itemgetter(*numbers)
        self._texts = itemgetter(*(self.names.index(name) for name in self.texts))
        self._struct = struct.Struct("<" + "".join(_FORMS[forms[place].str] for place in numbers) + "I")
        self.packed_bytes = self._struct.size
        self._missing = tuple(missing(form) for form in forms)
        self._sizes = tuple(form.itemsize for form in forms)

    def packed(self, values: Sequence[object], place_of: Callable[[tuple[bytes, ...]], int]) -> bytes:
        """The numbers of a row, and the place of its texts; of values in the order of `names`."""
        known = values
        if None in values:
            known = [other if value is None else value for value, other in zip(values, self._missing, strict=True)]
        place = place_of(self._texts(known))
        try:
            return self._struct.pack(*self._numbers(known), place)
        except (struct.error, OverflowError):
            fitting = list(map(_fitting, known, self._missing, self._sizes))
            return self._struct.pack(*self._numbers(fitting), place)

    def text_places(self, packed: bytearray, first: int, rows: int) -> np.ndarray:
        """The places of the texts of packed rows."""
        return np.ndarray((rows,), "<u4", packed, (first + 1) * self.packed_bytes - 4, (self.packed_bytes,))


def missing(form: np.dtype) -> object:
    """What stands in a column of that form for what is not known."""
    return {"i": -1, "f": math.nan}.get(form.kind, b"")


def cut(raw: bytes, size: int) -> bytes:
    """So much of a text as the column holds; of a list, whole entries."""
    if len(raw) > size and raw.startswith(b"["):
        return raw[: raw.rfind(b",", 0, size)] + b"]"
    return raw[:size]


def _spans(layout: np.dtype, numbers: Sequence[str]) -> tuple[Span, ...]:
    spans: list[Span] = []
    fields = layout.fields
    assert fields is not None  # noqa: S101 - rows have columns
    packed_at = 0
    for name in numbers:
        form, at = fields[name][:2]
        last = spans[-1] if spans else None
        if last is not None and last.at + last.size == at:
            spans[-1] = Span(last.at, last.packed_at, last.size + form.itemsize)
        else:
            spans.append(Span(at, packed_at, form.itemsize))
        packed_at += form.itemsize
    return tuple(spans)


def _fitting(value: object, other: object, size: int) -> object:
    """The value as the column can hold it."""
    if isinstance(other, bytes):
        return value
    if not isinstance(value, int | float):
        return other
    if isinstance(other, int):
        return max(-_LARGEST, min(int(value), _LARGEST)) if math.isfinite(value) else other
    return float(value) if size == _DOUBLE_BYTES else float(np.float32(value))
