"""Segments become one longer segment, raw ones also rollups. Series by series, so with little memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.series import Series
from jobmeter.store.samples.codec import Cells
from jobmeter.store.samples.head import Head, sort_key
from jobmeter.store.samples.roll import Flags, fold, from_cells, roll, stacked, to_cells
from jobmeter.store.samples.rows import INVOLVED, in_order, joined
from jobmeter.store.samples.segment import OpenSegment, Segment, SegmentWriter


def seal(head: Head, path: Path) -> None:
    """Write all that is in the head as a segment. Raises OSError, and has left nothing then."""
    with _writing(SegmentWriter(path)) as writer:
        for series, rows in head.series():
            writer.add(series, in_order(rows.cells()), head.lists)
        writer.finish(head.metrics)


def merge(sources: Sequence[Segment], path: Path) -> None:
    """Write the rows of several segments of one kind as one. Raises OSError and Damaged."""
    step_ns = sources[0].footer.step_ns
    metrics = _metrics(sources)
    with _writing(SegmentWriter(path, step_ns)) as writer:
        for series, parts, lists in _by_series(sources):
            if step_ns:
                counters = counters_of(series, metrics)
                cells = to_cells(fold(stacked([from_cells(part) for part in parts]), counters, step_ns))
            else:
                cells = joined(parts)
            writer.add(series, cells, lists)
        writer.finish(metrics)


def roll_up(source: Segment, path: Path, step_ns: int) -> None:
    """Write the periods of a raw segment. Raises OSError and Damaged."""
    with _writing(SegmentWriter(path, step_ns)) as writer:
        for series, parts, lists in _by_series([source]):
            counters = counters_of(series, source.metrics)
            writer.add(series, to_cells(roll(joined(parts), counters, step_ns)), lists)
        writer.finish(source.metrics)


def counters_of(series: Series, metrics: dict[str, Metric]) -> Flags:
    """Which metrics of a series are counters; one that the catalogue does not know is none."""
    return np.array([name in metrics and metrics[name].kind is Kind.COUNTER for name in series.metrics], np.bool_)


def renumbered(cells: Cells, lists: Sequence[tuple[JobIdentity, ...]], common: list[tuple[JobIdentity, ...]]) -> Cells:
    """The rows with the numbers of involved jobs as `common` has them; lists that it lacks are added."""
    if len(lists) == 1 and lists[0] == () and common and common[0] == ():
        return cells
    used, places = np.unique(cells.bits[:, INVOLVED], return_inverse=True)
    own = []
    for old in used:
        involved = lists[int(old)]
        if involved not in common:
            common.append(involved)
        own.append(common.index(involved))
    bits = cells.bits.copy()
    bits[:, INVOLVED] = np.array(own, np.uint64)[places]
    return Cells(bits, cells.kinds)


def _by_series(sources: Sequence[Segment]) -> Iterator[tuple[Series, list[Cells], list[tuple[JobIdentity, ...]]]]:
    with ExitStack() as stack:
        opened = [OpenSegment(source) for source in sources]
        for one in opened:
            stack.callback(one.close)
        runs = [_numbers(source, place) for place, source in enumerate(sources)]
        current: Series | None = None
        parts: list[Cells] = []
        lists: list[tuple[JobIdentity, ...]] = [()]
        for _, place, number, series in heapq.merge(*runs):
            if current is not None and series != current:
                yield current, parts, lists
                parts, lists = [], [()]
            current = series
            cells = opened[place].cells(number)
            if cells is not None:
                parts.append(renumbered(cells, sources[place].footer.involved, lists))
        if current is not None:
            yield current, parts, lists


def _numbers(source: Segment, place: int) -> Iterator[tuple[tuple[object, ...], int, int, Series]]:
    for number in range(len(source.footer.series)):
        series = source.series(number)
        yield sort_key(series), place, number, series


def _metrics(sources: Sequence[Segment]) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for source in sources:
        found.update(source.metrics)
    return found


class _writing:  # noqa: N801 - a context manager
    """Leaves nothing behind when the block fails."""

    def __init__(self, writer: SegmentWriter) -> None:
        self._writer = writer

    def __enter__(self) -> SegmentWriter:
        return self._writer

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._writer.abandon()
