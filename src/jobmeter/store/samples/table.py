"""From columns of a store to tables of an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jobmeter.model.metric import Kind, Metric
from jobmeter.model.series import SampleColumn, SampleQuestion, SampleTable, Series, Value
from jobmeter.store.samples.codec import Cells
from jobmeter.store.samples.roll import Flags, Floats, Rolled, crossings
from jobmeter.store.samples.rows import ABOUT, times_of, values_of

GAP_SPACINGS = 5
"""A counter's growth over a time this many times the usual distance of samples belongs to no period."""


def plain_table(series: Series, cells: Cells, metrics: dict[str, Metric], asked: Sequence[str]) -> SampleTable:
    """Samples as they came."""
    columns = tuple(
        SampleColumn(_metric(name, metrics), "value", values_of(cells, ABOUT + place))
        for place, name in enumerate(series.metrics)
        if not asked or name in asked
    )
    return SampleTable(series, times_of(cells).tolist(), columns)


def period_table(
    series: Series, rolled: Rolled, counters: Flags, metrics: dict[str, Metric], question: SampleQuestion
) -> SampleTable:
    """Periods, folded to the step: means and extremes of gauges, rates and increases of counters.

    A period without a sample is not in the table. The growth of a counter since the sample before a period belongs to
    the period, unless so much time lies between that nobody knows when it grew; then it is in no rate.
    """
    step_ns = question.step_ns or 1
    grown, began = crossings(rolled, counters)
    distance = rolled.first_times - np.concatenate((rolled.first_times[:1], rolled.last_times[:-1]))
    near = (distance > 0) & (distance <= max(2 * step_ns, GAP_SPACINGS * _spacing(rolled)))
    increase = rolled.amount + np.where(near[:, None], grown, 0.0)
    seconds = (rolled.last_times - rolled.first_times + np.where(near, distance, 0)) / 1e9
    with np.errstate(all="ignore"):
        rate = np.where(seconds[:, None] > 0, increase / seconds[:, None], np.nan)
        mean = rolled.amount / rolled.counts
    none = rolled.counts == 0
    columns = []
    for place, name in enumerate(series.metrics):
        if question.metrics and name not in question.metrics:
            continue
        forms = (
            (("rate", rate), ("increase", np.where(seconds[:, None] > 0, increase, np.nan)))
            if counters[place]
            else (("mean", mean), ("min", rolled.low), ("max", rolled.high))
        )
        columns += [
            SampleColumn(_metric(name, metrics), form, _shown(numbers[:, place], none[:, place]))
            for form, numbers in forms
        ]
    resets = float(np.where(counters, np.nan_to_num(rolled.last) + began, 0.0).max(initial=0.0, axis=1).sum())
    return SampleTable(series, rolled.times.tolist(), tuple(columns), int(resets))


def _spacing(rolled: Rolled) -> float:
    """The usual distance of samples, in nanoseconds."""
    inside = rolled.last_times - rolled.first_times
    most = rolled.counts.max(axis=1, initial=0.0)
    with np.errstate(all="ignore"):
        each = inside / (most - 1)
    each = each[(most > 1) & (inside > 0)]
    if len(each):
        return float(np.median(each))
    steps = np.diff(rolled.first_times)
    return float(np.median(steps)) if len(steps) else 0.0


def _shown(numbers: Floats, none: Flags) -> list[Value]:
    if not none.any() and not np.isnan(numbers).any():
        return list(numbers.tolist())
    return [
        None if missing or number != number else number  # noqa: PLR0124 - NaN is no answer
        for number, missing in zip(numbers.tolist(), none.tolist(), strict=True)
    ]


def _metric(name: str, metrics: dict[str, Metric]) -> Metric:
    return metrics.get(name) or Metric(name, "unknown", Kind.GAUGE, "")
