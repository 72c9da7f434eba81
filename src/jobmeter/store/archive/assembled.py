"""The body of a row put together here, as `jobmeter.store.archive.layout.body` has DuckDB do it.

For a single record that is quicker: DuckDB takes some milliseconds to make itself ready for the long expression.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jobmeter.model.record import from_microseconds
from jobmeter.store.archive.layout import KEY, Layout, component_column, meta_column

_SLOT = re.compile(r"\{\{|\}\}|\{([0-9]+)\}")


def parts(layout: Layout) -> list[str]:
    """What `assembled` is made of, as SQL."""
    metas = [meta_column(key) for key in layout.meta]
    components = [f"{component_column(name)}::BIGINT" for name in layout.components]
    return ["whole", "shape", KEY, layout.start_us, layout.stop_us, "runtime", *metas, *components]


def assembled(layout: Layout, row: Sequence[Any]) -> bytes:
    """The body, from the values of `parts`."""
    whole, shape, key, start_us, stop_us, runtime, *rest = row
    if whole is not None:
        return str(whole).encode()
    metas, components = rest[: len(layout.meta)], rest[len(layout.meta) :]
    slots = [key, _moment(start_us), _moment(stop_us), str(runtime), ""]
    slots += ['","'.join(values or ()) for values in metas]
    slots += [str(amount or 0) for amount in components]

    def filled(match: re.Match[str]) -> str:
        return match[0][0] if match[1] is None else slots[int(match[1])]

    return _SLOT.sub(filled, shape).encode()


def _moment(us: int) -> str:
    moment = from_microseconds(us)
    fraction = us % 1_000_000
    form = "seconds" if fraction == 0 else "milliseconds" if fraction % 1000 == 0 else "microseconds"
    return moment.isoformat(timespec=form).replace("+00:00", "Z")
