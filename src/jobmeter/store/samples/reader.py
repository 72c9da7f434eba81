"""The reading side of a sample store: any number of processes, beside the one that writes.

A question is planned first: all files that it needs are opened, so that merging and removing do not disturb it. Then it
is answered series by series, with the memory of one series.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from jobmeter.contract import StoreUnavailable
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Metric
from jobmeter.model.series import SampleQuestion, SampleStoreState, SampleTable, Series
from jobmeter.store.samples.codec import Cells
from jobmeter.store.samples.fault import Damaged
from jobmeter.store.samples.folder import TIERS_SECONDS, Listing, LogFile, Span, listing, overlap
from jobmeter.store.samples.head import Head, Names, sort_key
from jobmeter.store.samples.log import LogReader
from jobmeter.store.samples.merge import counters_of, renumbered
from jobmeter.store.samples.roll import Rolled, fold, from_cells, roll, stacked
from jobmeter.store.samples.rows import INVOLVED, between, joined
from jobmeter.store.samples.segment import OpenSegment, Segment
from jobmeter.store.samples.table import period_table, plain_table

TRIES = 20
FOOTERS_BYTES_MAX = 2**28
"""Footers are kept in memory up to so many bytes of their files' sizes, a hundredth each."""
SECOND_NS = 10**9

Part = tuple[OpenSegment, int]
"""An opened segment and the number of a series in it."""


class _Tail:
    """A log, read as far as it goes."""

    def __init__(self, log: LogFile) -> None:
        self.head = Head()
        self._names = Names()
        self._log = LogReader(log.path)

    def read(self) -> None:
        for frame in self._log.frames():
            self.head.read(frame, self._names)

    def close(self) -> None:
        self._log.close()


class SampleStoreReader:
    """Answers questions about the samples in a folder. Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._segments: OrderedDict[Path, Segment] = OrderedDict()
        self._tails: dict[int, _Tail] = {}
        self._damaged: dict[Path, str] = {}

    def tables(self, question: SampleQuestion) -> Iterator[SampleTable]:
        """One table per series that has matching samples. The files are open when the first is asked for.

        Raises StoreUnavailable. What is damaged is left out, and counted in `state`.
        """
        with ExitStack() as stack:
            plan = self._planned(question, stack)
            for series in sorted(plan.series(), key=sort_key):
                table = self._table(series, plan, question)
                if table is not None:
                    yield table

    def state(self) -> SampleStoreState:
        """What there is."""
        with self._guard:
            found = self._listed()
            raw = [segment for span in found.raw if (segment := self._segment(span.path)) is not None]
            tiers = [span.path for spans in found.tiers.values() for span in spans]
            heads = [tail.head for tail in self._tails.values()]
            first = [one.first_ns for one in raw if one.first_ns is not None]
            last = [one.last_ns for one in raw if one.last_ns is not None]
            return SampleStoreState(
                len(raw),
                len(tiers),
                sum(log.path.stat().st_size for log in found.logs if log.path.exists()),
                sum(one.size for one in raw),
                sum(path.stat().st_size for path in tiers if path.exists()),
                sum(one.footer.values for one in raw) + sum(head.values for head in heads),
                min(first, default=None),
                max(last, default=None),
                len(self._damaged),
            )

    def close(self) -> None:
        """Release the files."""
        with self._guard:
            for tail in self._tails.values():
                tail.close()
            self._tails.clear()

    def _planned(self, question: SampleQuestion, stack: ExitStack) -> _Plan:
        with self._guard:
            for _ in range(TRIES):
                try:
                    return self._plan(question, stack)
                except FileNotFoundError:
                    continue  # merged or sealed meanwhile: look again
                except OSError as fault:
                    raise StoreUnavailable(f"the sample store cannot be read: {fault}") from None
        raise StoreUnavailable("the sample store changes too fast to be read, or it is not there")

    def _plan(self, question: SampleQuestion, stack: ExitStack) -> _Plan:
        found = self._listed()
        plan = _Plan()
        tier = _tier(question.step_ns)
        spans = found.raw
        if tier is not None:
            self._open_all(found.tiers[tier], question, plan, stack, rolled=True)
            spans = [span for span in spans if not overlap(span, found.tiers[tier])]
        self._open_all(spans, question, plan, stack, rolled=False)
        for tail in self._tails.values():
            plan.metrics.update(tail.head.metrics)
            for series, rows in tail.head.series():
                if wanted(series, question):
                    plan.heads.setdefault(series, []).append((rows.cells(), list(tail.head.lists)))
        return plan

    def _open_all(
        self, spans: list[Span], question: SampleQuestion, plan: _Plan, stack: ExitStack, *, rolled: bool
    ) -> None:
        asked = question
        if rolled and question.from_ns is not None and question.step_ns:
            asked = msgspec.structs.replace(question, from_ns=question.from_ns // question.step_ns * question.step_ns)
        for span in spans:
            segment = self._segment(span.path)
            numbers = [] if segment is None else list(segment.chosen(asked))
            if segment is None or not numbers:
                continue
            opened = OpenSegment(segment)
            stack.callback(opened.close)
            plan.metrics.update(segment.metrics)
            parts = plan.rolled if rolled else plan.raw
            for number in numbers:
                parts.setdefault(segment.series(number), []).append((opened, number))

    def _listed(self) -> Listing:
        found = listing(self._folder)
        numbers = {log.number for log in found.logs}
        for number in [one for one in self._tails if one not in numbers]:
            self._tails.pop(number).close()
        for log in found.logs:
            if log.number not in self._tails:
                self._tails[log.number] = _Tail(log)
            self._tails[log.number].read()
        return found

    def _segment(self, path: Path) -> Segment | None:
        if path in self._damaged:
            return None
        found = self._segments.get(path)
        if found is None:
            try:
                found = self._segments[path] = Segment(path)
            except Damaged as fault:
                self._damaged[path] = str(fault)
                return None
            while sum(one.size for one in self._segments.values()) // 100 > FOOTERS_BYTES_MAX:
                self._segments.popitem(last=False)
        self._segments.move_to_end(path)
        return found

    def _table(self, series: Series, plan: _Plan, question: SampleQuestion) -> SampleTable | None:
        lists: list[tuple[JobIdentity, ...]] = [()]
        parts = []
        for opened, number in plan.raw.get(series, ()):
            cells = self._read(opened, number, question.from_ns, question.to_ns)
            if cells is not None:
                parts.append(renumbered(cells, opened.segment.footer.involved, lists))
        for cells, own in plan.heads.get(series, ()):
            parts.append(renumbered(cells, own, lists))
        cells = between(joined(parts), question.from_ns, question.to_ns) if parts else None
        cells = None if cells is None else _of_asked_jobs(cells, series, lists, question)
        if not question.step_ns:
            if cells is None or not len(cells.bits):
                return None
            return plain_table(series, cells, plan.metrics, question.metrics)
        counters = counters_of(series, plan.metrics)
        rolled = self._rolled(series, plan, question, lists)
        if cells is not None and len(cells.bits):
            rolled.append(roll(cells, counters, question.step_ns))
        if not rolled:
            return None
        folded = fold(stacked(rolled), counters, question.step_ns)
        return period_table(series, folded, counters, plan.metrics, question)

    def _rolled(
        self, series: Series, plan: _Plan, question: SampleQuestion, lists: list[tuple[JobIdentity, ...]]
    ) -> list[Rolled]:
        step_ns = question.step_ns or 1
        first = None if question.from_ns is None else question.from_ns // step_ns * step_ns
        found = []
        for opened, number in plan.rolled.get(series, ()):
            cells = self._read(opened, number, first, question.to_ns)
            if cells is None:
                continue
            cells = _of_asked_jobs(renumbered(cells, opened.segment.footer.involved, lists), series, lists, question)
            if len(cells.bits):
                found.append(from_cells(cells))
        return found

    def _read(self, opened: OpenSegment, number: int, from_ns: int | None, to_ns: int | None) -> Cells | None:
        try:
            return opened.cells(number, from_ns, to_ns)
        except Damaged as fault:
            self._damaged.setdefault(opened.segment.path, str(fault))
            return None


class _Plan:
    """Where the samples of each series are, everything open."""

    def __init__(self) -> None:
        self.raw: dict[Series, list[Part]] = {}
        self.rolled: dict[Series, list[Part]] = {}
        self.heads: dict[Series, list[tuple[Cells, list[tuple[JobIdentity, ...]]]]] = {}
        self.metrics: dict[str, Metric] = {}

    def series(self) -> set[Series]:
        """All series that may have an answer."""
        return {*self.raw, *self.rolled, *self.heads}


def wanted(series: Series, question: SampleQuestion) -> bool:
    """Whether a question may concern a series."""
    if series.job is None:
        about = question.node_only or not question.names_a_job or question.involving
    else:
        about = not question.node_only and question.is_about(series.job)
    return (
        about
        and (question.node is None or question.node == series.node)
        and (question.source is None or question.source == series.source)
        and (not question.metrics or not set(question.metrics).isdisjoint(series.metrics))
    )


def _of_asked_jobs(
    cells: Cells, series: Series, lists: list[tuple[JobIdentity, ...]], question: SampleQuestion
) -> Cells:
    """Of a node's rows, when a job is asked for, those that name such a job."""
    if series.job is not None or not question.names_a_job:
        return cells
    right = [any(question.is_about(job) for job in one) for one in lists]
    keep = np.array(right, np.bool_)[cells.bits[:, INVOLVED].astype(np.intp)]
    return Cells(cells.bits[keep], cells.kinds[keep])


def _tier(step_ns: int | None) -> int | None:
    """The longest rollup of which the step is a multiple."""
    if not step_ns:
        return None
    fits = [seconds for seconds in TIERS_SECONDS if step_ns % (seconds * SECOND_NS) == 0]
    return max(fits, default=None)
