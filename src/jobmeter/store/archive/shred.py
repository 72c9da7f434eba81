"""From a body to the columns of an archive file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from jobmeter.model.record import microseconds
from jobmeter.store.archive.layout import FIXED_SLOTS, Census, Layout
from jobmeter.store.row import key_of

_SHAPES_MAX = 20_000
_NUMBERED = re.compile(r"(.*?)(0|[1-9][0-9]{0,17})", re.DOTALL)


class _Score(Struct, frozen=True, gc=False):
    name: str
    value: float


class _Component(Struct, frozen=True, gc=False):
    name: str
    amount: int
    scores: tuple[_Score, ...]


class Body(Struct, frozen=True, gc=False):
    """An archived record. Without the rules for names: those of the day when it was stored count."""

    record_id: str
    meta: dict[str, tuple[str, ...]] | None
    components: tuple[_Component, ...]
    start_time: datetime
    stop_time: datetime


decode_body = msgspec.json.Decoder(Body).decode
"""The record in the body of one that stopped."""
_encode = msgspec.json.Encoder().encode


def split_key(key: str) -> tuple[str, int | None]:
    """What `id_head` and `id_number` hold for a key."""
    numbered = _NUMBERED.fullmatch(key)
    return (key, None) if numbered is None else (numbered[1], int(numbered[2]))


def take_census(census: Census, body: bytes) -> None:
    """Count the names in one body."""
    record = decode_body(body)
    stop_us = microseconds(record.stop_time)
    amounts = {one.name: one.amount for one in record.components}
    census.count(tuple(record.meta or ()), amounts, stop_us, stop_us - microseconds(record.start_time))


class Shredder:
    """Makes rows for one layout. What it gives is checked against the body when the file is written."""

    def __init__(self, layout: Layout) -> None:
        self._meta = {key: number for number, key in enumerate(layout.meta)}
        self._components = {name: number for number, name in enumerate(layout.components)}
        self._runtimes = frozenset(layout.runtimes)
        self._shapes: dict[Any, str] = {}

    def row(self, seq: int, body: bytes) -> dict[str, Any]:
        """The values of the columns, with `shape` None where the record does not fit the layout."""
        record = decode_body(body)
        stop_us = microseconds(record.stop_time)
        runtime_us = stop_us - microseconds(record.start_time)
        key = key_of(record.record_id)
        head, number = split_key(key)
        row: dict[str, Any] = {"seq": seq, "head": head, "number": number, "body": body.decode()}
        row["stop"], row["stop_us"] = divmod(stop_us, 1_000_000)
        row["runtime"], row["runtime_us"] = divmod(runtime_us, 1_000_000)
        fits = self._take_meta(row, record.meta) and self._take_components(row, record)
        row["shape"] = self._shape(record) if fits else None
        return row

    def _take_meta(self, row: dict[str, Any], meta: Mapping[str, tuple[str, ...]] | None) -> bool:
        for key, values in (meta or {}).items():
            number = self._meta.get(key)
            if number is None:
                return False
            row[f"m{number}"] = values
        return True

    def _take_components(self, row: dict[str, Any], record: Body) -> bool:
        for one in record.components:
            number = self._components.get(one.name)
            if number is None or f"c{number}" in row:
                return False
            if one.name in self._runtimes:
                if one.amount != row["runtime"]:
                    return False
                row[f"c{number}"] = True
            else:
                row[f"c{number}"] = one.amount
        return True

    def _shape(self, record: Body) -> str:
        meta = None if record.meta is None else tuple((key, bool(values)) for key, values in record.meta.items())
        of = (meta, tuple((one.name, one.scores) for one in record.components))
        shape = self._shapes.get(of)
        if shape is None:
            if len(self._shapes) >= _SHAPES_MAX:
                self._shapes.clear()
            shape = self._shapes[of] = self._template(meta, record.components)
        return shape

    def _template(self, meta: tuple[tuple[str, bool], ...] | None, components: tuple[_Component, ...]) -> str:
        names = len(self._meta)
        if meta is None:
            told = "null"
        else:
            lists = (
                f"{_literal(key)}:{self._listed(FIXED_SLOTS + self._meta[key]) if filled else '[]'}"
                for key, filled in meta
            )
            told = "{{" + ",".join(lists) + "}}"
        parts = []
        for one in components:
            number = self._components[one.name]
            slot = 3 if one.name in self._runtimes else FIXED_SLOTS + names + number
            parts.append(f'{{{{"name":{_literal(one.name)},"amount":{{{slot}}},"scores":{_literal(one.scores)}}}}}')
        return (
            f'{{{{"record_id":"{{0}}","meta":{told},"components":[{",".join(parts)}],'
            '"start_time":"{1}","stop_time":"{2}","runtime":{3}}}'
        )

    @staticmethod
    def _listed(slot: int) -> str:
        return f'["{{{slot}}}"]'


def _literal(value: object) -> str:
    """JSON within a template: braces doubled."""
    return _encode(value).decode().replace("{", "{{").replace("}", "}}")
