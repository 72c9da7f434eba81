"""Rows of samples become rows of periods, and these become rows of longer periods.

A row of a period has the first and last time of its samples, then five columns per metric. For a gauge: how many
values, their sum, smallest, largest, last. For a counter: how many values, the increase within the period, first, last,
how often it began anew. Two such rows can be added without looking at the samples again; what a counter grew between
two rows is found from the last value of the one and the first of the other.

A counter that is smaller than before began anew, unless it says that it began at the same time as before: then a clock
went backwards and nothing is added.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jobmeter.store.samples.codec import FLOATING, NOTHING, WHOLE, Cells
from jobmeter.store.samples.rows import ABOUT, INVOLVED, SINCE, TIME

PER_METRIC = 5
FIRST_TIME, LAST_TIME = ABOUT, ABOUT + 1
_VALUES = ABOUT + 2

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]


class Rolled(NamedTuple):
    """Rows of periods, a matrix of periods and metrics for each of the five numbers; NaN where there is none.

    `low` is a gauge's smallest and a counter's first, `high` a gauge's largest and a counter's last; `last` is a
    gauge's last and how often a counter began anew; `amount` is a gauge's sum and a counter's increase within.
    """

    times: Whole
    since: Whole
    since_known: Flags
    involved: npt.NDArray[np.uint64]
    first_times: Whole
    last_times: Whole
    counts: Floats
    amount: Floats
    low: Floats
    high: Floats
    last: Floats


def roll(cells: Cells, counters: Flags, step_ns: int) -> Rolled:
    """Periods of samples that are in order of time; `counters` says which columns of values are counters."""
    times = cells.bits[:, TIME].view(np.int64)
    values = _numbers(cells, ABOUT, cells.bits.shape[1])
    buckets = times // step_ns
    starts = _starts(buckets)
    there = ~np.isnan(values)
    rows = np.arange(len(times))[:, None]
    ahead = np.where(there, rows, len(times))
    behind = np.where(there, rows, -1)
    first = _at(values, np.minimum.reduceat(ahead, starts, axis=0))
    last = _at(values, np.maximum.reduceat(behind, starts, axis=0))
    since, known = _since(cells)
    grown, began = _growth(values, there, buckets, since, known)
    last_rows = np.append(starts[1:], len(times)) - 1
    return Rolled(
        buckets[starts] * step_ns,
        since[last_rows],
        known[last_rows],
        cells.bits[last_rows, INVOLVED],
        times[starts],
        times[last_rows],
        np.add.reduceat(there, starts, axis=0, dtype=np.float64),
        np.add.reduceat(np.where(counters, grown, np.where(there, values, 0.0)), starts, axis=0),
        np.where(counters, first, np.fmin.reduceat(values, starts, axis=0)),
        np.where(counters, last, np.fmax.reduceat(values, starts, axis=0)),
        np.where(counters, np.add.reduceat(began, starts, axis=0), last),
    )


def fold(rolled: Rolled, counters: Flags, step_ns: int) -> Rolled:
    """The same in longer periods, in order of time. Rows that lie within the time of one before are repeats of it."""
    rolled = _ordered(rolled)
    buckets = rolled.times // step_ns
    starts = _starts(buckets)
    grown, began = crossings(rolled, counters)
    inside = np.ones(len(buckets), np.bool_)
    inside[starts] = False
    amount = np.where(rolled.counts > 0, rolled.amount, 0.0) + np.where(inside[:, None] & counters, grown, 0.0)
    resets = np.where(np.isnan(rolled.last), 0.0, rolled.last) + np.where(inside[:, None], began, 0.0)
    there = rolled.counts > 0
    rows = np.arange(len(buckets))[:, None]
    first = np.minimum.reduceat(np.where(there, rows, len(buckets)), starts, axis=0)
    last = np.maximum.reduceat(np.where(there, rows, -1), starts, axis=0)
    last_rows = np.append(starts[1:], len(buckets)) - 1
    return Rolled(
        buckets[starts] * step_ns,
        rolled.since[last_rows],
        rolled.since_known[last_rows],
        rolled.involved[last_rows],
        rolled.first_times[starts],
        rolled.last_times[last_rows],
        np.add.reduceat(rolled.counts, starts, axis=0),
        np.add.reduceat(amount, starts, axis=0),
        np.where(counters, _at(rolled.low, first), np.fmin.reduceat(rolled.low, starts, axis=0)),
        np.where(counters, _at(rolled.high, last), np.fmax.reduceat(rolled.high, starts, axis=0)),
        np.where(counters, np.add.reduceat(resets, starts, axis=0), _at(rolled.last, last)),
    )


def crossings(rolled: Rolled, counters: Flags) -> tuple[Floats, Floats]:
    """Per row and counter: its growth since the row before that has a value, and whether it began anew between."""
    there = (rolled.counts > 0) & counters
    before = _row_before(there)
    has = there & (before >= 0)
    old = _at(rolled.high, before)
    delta = np.where(has, rolled.low - old, 0.0)
    renewed = has & _renewed(delta, before, rolled.since, rolled.since_known)
    delta = np.where(renewed, rolled.low, np.maximum(delta, 0.0))
    return np.where(has, delta, 0.0), renewed.astype(np.float64)


def to_cells(rolled: Rolled) -> Cells:
    """As columns of a segment."""
    rows, metrics = rolled.counts.shape
    bits = np.zeros((rows, _VALUES + metrics * PER_METRIC), np.uint64)
    kinds = np.full(bits.shape, WHOLE, np.uint8)
    for column, whole in (
        (TIME, rolled.times),
        (SINCE, rolled.since),
        (FIRST_TIME, rolled.first_times),
        (LAST_TIME, rolled.last_times),
    ):
        bits[:, column] = whole.view(np.uint64)
    kinds[~rolled.since_known, SINCE] = NOTHING
    bits[:, INVOLVED] = rolled.involved
    none = rolled.counts == 0
    for place, numbers in enumerate((rolled.counts, rolled.amount, rolled.low, rolled.high, rolled.last)):
        columns = np.arange(metrics) * PER_METRIC + _VALUES + place
        bits[:, columns] = np.ascontiguousarray(numbers).view(np.uint64)
        kinds[:, columns] = np.where(none | np.isnan(numbers), NOTHING, FLOATING)
    return Cells(bits, kinds)


def from_cells(cells: Cells) -> Rolled:
    """Back from the columns of a segment."""
    since, known = _since(cells)
    numbers = _numbers(cells, _VALUES, cells.bits.shape[1])
    count, amount, low, high, last = (numbers[:, place::PER_METRIC] for place in range(PER_METRIC))
    return Rolled(
        cells.bits[:, TIME].view(np.int64),
        since,
        known,
        cells.bits[:, INVOLVED],
        cells.bits[:, FIRST_TIME].view(np.int64),
        cells.bits[:, LAST_TIME].view(np.int64),
        np.nan_to_num(count),
        np.nan_to_num(amount),
        low,
        high,
        last,
    )


def stacked(parts: list[Rolled]) -> Rolled:
    """One below the other."""
    return Rolled._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _ordered(rolled: Rolled) -> Rolled:
    order = np.lexsort((-rolled.last_times, rolled.first_times))
    reach = np.maximum.accumulate(rolled.last_times[order])
    keep = np.ones(len(order), np.bool_)
    keep[1:] = rolled.last_times[order][1:] > reach[:-1]
    chosen = order[keep]
    return Rolled._make(column[chosen] for column in rolled)


def _starts(buckets: Whole) -> npt.NDArray[np.intp]:
    return np.flatnonzero(np.concatenate(([True], buckets[1:] != buckets[:-1])))


def _numbers(cells: Cells, first: int, last: int) -> Floats:
    """The values of columns as floating numbers, NaN for nothing."""
    bits = np.ascontiguousarray(cells.bits[:, first:last])
    kinds = cells.kinds[:, first:last]
    numbers = np.where(kinds == WHOLE, bits.view(np.int64).astype(np.float64), bits.view(np.float64))
    numbers[kinds == NOTHING] = np.nan
    return numbers


def _since(cells: Cells) -> tuple[Whole, Flags]:
    return cells.bits[:, SINCE].view(np.int64), np.asarray(cells.kinds[:, SINCE] != NOTHING)


def _at(values: Floats, rows: npt.NDArray[np.intp]) -> Floats:
    """Per column the value in the row given for it, NaN where there is no such row."""
    out = np.take_along_axis(values, np.clip(rows, 0, len(values) - 1), axis=0)
    return np.where((rows < 0) | (rows >= len(values)), np.nan, out)


def _row_before(there: Flags) -> npt.NDArray[np.intp]:
    """Per row and column the last row before it that has a value, -1 for none."""
    rows = np.where(there, np.arange(len(there))[:, None], -1)
    before = np.full(there.shape, -1, np.intp)
    before[1:] = np.maximum.accumulate(rows, axis=0)[:-1]
    return before


def _growth(values: Floats, there: Flags, buckets: Whole, since: Whole, known: Flags) -> tuple[Floats, Floats]:
    before = _row_before(there)
    has = there & (before >= 0) & (buckets[np.maximum(before, 0)] == buckets[:, None])
    delta = np.where(has, values - _at(values, before), 0.0)
    renewed = has & _renewed(delta, before, since, known)
    delta = np.where(renewed, values, np.maximum(delta, 0.0))
    return np.where(has, delta, 0.0), renewed.astype(np.float64)


def _renewed(delta: Floats, before: npt.NDArray[np.intp], since: Whole, known: Flags) -> Flags:
    """Whether a counter began anew since the row before."""
    old = np.maximum(before, 0)
    both = known[old] & known[:, None]
    later = since[:, None] > since[old]
    return np.asarray(np.where(both, later, delta < 0))
