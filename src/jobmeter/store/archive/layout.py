"""The columns of an archive file, and how its rows become bodies again.

One row per record, in order of stop time and number of insertion:

- `seq`: the number of insertion in the database;
- `id_head`, `id_number`: the record id, its last digits apart, because counted ids then cost a byte and not twenty;
- `stop_time`, `runtime`: whole seconds since 1970 UTC and from start to stop, with `stop_microseconds` and
  `runtime_microseconds` beside them: in one number the zeros of whole seconds could not be packed away;
- `meta.KEY`: the list under the key;
- `component.NAME`: the amount; a column of truth values for a component that always is the runtime in seconds;
- `since_us`: since when the record is stored as it is, where the layout says so: microseconds since 1970, or none;
- `shape`: a template of the body, in the language of DuckDB's `format`: keys, names, scores and their order;
- `whole`: the body itself, for a record that the other columns could not give back byte by byte.

Measured with the records of `bench/records.py`: docs/archive.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

VERSION = 1
COLUMNS_MAX = 64
"""At most so many meta keys, and so many components, have columns; records with others are kept whole."""

NAME_MAX_CHARACTERS = 100
RUNTIME_SHARE = 0.999
"""A component that is the runtime in this share of its records is not stored; the other records are kept whole."""


class Layout(Struct, frozen=True):
    """Which columns a file has beside the fixed ones. `runtimes` are those `components` that are the runtime.

    Without `fractions` all times are whole seconds, and nothing need be looked up to know that.
    """

    meta: tuple[str, ...]
    components: tuple[str, ...]
    runtimes: tuple[str, ...]
    fractions: bool = True
    version: int = VERSION
    dated: bool = False
    """Whether it is told since when the records are stored."""

    @property
    def stop_us(self) -> str:
        """The stop time in microseconds since 1970, as SQL."""
        return "(stop_time * 1000000 + stop_microseconds)" if self.fractions else "(stop_time * 1000000)"

    @property
    def start_us(self) -> str:
        """The start time likewise."""
        if self.fractions:
            return f"({self.stop_us} - (runtime * 1000000 + runtime_microseconds))"
        return "((stop_time - runtime) * 1000000)"

    @property
    def since_us(self) -> str:
        """Since when the record is stored as it is, in microseconds since 1970, or NULL, as SQL."""
        return "since_us" if self.dated else "NULL::BIGINT"

    def encoded(self) -> str:
        """The layout as it is kept in the database and in the file."""
        return msgspec.json.encode(self).decode()


def layout_of(text: str) -> Layout:
    """The layout that `encoded` wrote. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(text, type=Layout)


class Census:
    """Counts keys and names, to choose the columns of a file."""

    def __init__(self) -> None:
        self._keys: Counter[str] = Counter()
        self._names: Counter[str] = Counter()
        self._runtimes: Counter[str] = Counter()
        self._fractions = False
        self._dated = False

    def note_since(self, since_us: int | None) -> None:
        """Look at since when one record is stored."""
        self._dated = self._dated or since_us is not None

    def count(self, keys: Sequence[str], amounts: Mapping[str, int], stop_us: int, runtime_us: int) -> None:
        """Look at one record."""
        runtime_seconds, fraction_us = divmod(runtime_us, 1_000_000)
        self._fractions = self._fractions or fraction_us != 0 or stop_us % 1_000_000 != 0
        self._keys.update(keys)
        self._names.update(amounts.keys())
        self._runtimes.update(name for name, amount in amounts.items() if amount == runtime_seconds)

    def layout(self) -> Layout:
        """The columns for the records that were counted."""
        components = _chosen(self._names)
        runtimes = tuple(name for name in components if self._runtimes[name] >= RUNTIME_SHARE * self._names[name])
        return Layout(_chosen(self._keys), components, runtimes, self._fractions, dated=self._dated)


def _chosen(counted: Counter[str]) -> tuple[str, ...]:
    """The most frequent names. Columns are told apart without regard to case, so of two such names one is chosen."""
    chosen: dict[str, str] = {}
    for name, _ in counted.most_common():
        if len(chosen) < COLUMNS_MAX and len(name) <= NAME_MAX_CHARACTERS and name.isprintable():
            chosen.setdefault(name.casefold(), name)
    return tuple(chosen.values())


def quoted(name: str) -> str:
    """`name` as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def meta_column(key: str) -> str:
    """The column of a meta key, quoted."""
    return quoted(f"meta.{key}")


def component_column(name: str) -> str:
    """The column of a component, quoted."""
    return quoted(f"component.{name}")


KEY = "(id_head || coalesce(id_number::VARCHAR, ''))"
"""What `records.record_id` holds: see `jobmeter.store.row.key_of`."""

FIXED_SLOTS = 5
"""The slots of a template before those of meta keys: id, start, stop, runtime, and one that is free."""


def amount(layout: Layout, name: str) -> str:
    """The amount of a component that has a column, as SQL."""
    column = component_column(name)
    return f"(CASE WHEN {column} THEN runtime END)" if name in layout.runtimes else column


def body(layout: Layout) -> str:
    """The body of a row, as SQL."""
    return f"coalesce(whole, {from_shape(layout)})"


def from_shape(layout: Layout) -> str:
    """The body of a row that is not kept whole, as SQL."""
    values = [KEY, _moment(layout, layout.start_us), _moment(layout, layout.stop_us), "runtime", "''"]
    values += [f"coalesce(array_to_string({meta_column(key)}, '\",\"'), '')" for key in layout.meta]
    values += [f"coalesce({component_column(name)}::BIGINT, 0)" for name in layout.components]
    return f"format(shape, {', '.join(values)})"


def outline(layout: Layout) -> str:
    """The body of a row that is not kept whole with nothing filled in: names and scores are those of the row."""
    return f"format(shape, {', '.join(['0'] * (FIXED_SLOTS + len(layout.meta) + len(layout.components)))})"


def _moment(layout: Layout, microseconds: str) -> str:
    if not layout.fractions:
        return f"strftime(make_timestamp({microseconds}), '%Y-%m-%dT%H:%M:%SZ')"
    fraction = f"({microseconds} % 1000000)"
    return (
        f"(strftime(make_timestamp({microseconds}), '%Y-%m-%dT%H:%M:%S') || CASE WHEN {fraction} = 0 THEN 'Z' "
        f"WHEN {fraction} % 1000 = 0 THEN printf('.%03dZ', {fraction} // 1000) ELSE printf('.%06dZ', {fraction}) END)"
    )
