"""The samples that no segment holds yet, in memory, as the append logs have them."""

from __future__ import annotations

from collections.abc import Iterator

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Metric
from jobmeter.model.series import Series
from jobmeter.store.samples.codec import Cells
from jobmeter.store.samples.log import Frame
from jobmeter.store.samples.rows import PackedRow, Rows

Involved = tuple[JobIdentity, ...]


def sort_key(series: Series) -> tuple[bool, JobIdentity, str, str, str, tuple[str, ...]]:
    """The order of series in files: those of one job together, those of nodes last."""
    job = series.job
    return (
        job is None,
        JobIdentity("", "", "") if job is None else job,
        series.node,
        series.source,
        series.instance,
        series.metrics,
    )


class Numbered:
    """The numbers that one log gives to series and to lists of involved jobs."""

    def __init__(self) -> None:
        self.series: dict[Series, int] = {}
        self.involved: dict[Involved, int] = {}

    def number(self, series: Series, frame: Frame) -> int:
        """The number of a series; a new one is named in the frame."""
        number = self.series.get(series)
        if number is None:
            number = self.series[series] = len(self.series)
            frame.series.append(series)
        return number

    def number_list(self, involved: Involved, frame: Frame) -> int:
        """The number of a list; a new one is named in the frame."""
        number = self.involved.get(involved)
        if number is None:
            number = self.involved[involved] = len(self.involved)
            frame.involved.append(involved)
        return number


class Head:
    """Rows by series. `lists` are the lists of involved jobs that rows name by number, the empty one first."""

    def __init__(self) -> None:
        self.lists: list[Involved] = [()]
        self.metrics: dict[str, Metric] = {}
        self.values = 0
        self.count = 0
        self._rows: dict[Series, Rows] = {}
        self._numbers: dict[Involved, int] = {(): 0}

    def rows(self, series: Series) -> Rows:
        """The rows of a series, none at first."""
        rows = self._rows.get(series)
        if rows is None:
            rows = self._rows[series] = Rows(len(series.metrics))
        return rows

    def number(self, involved: Involved) -> int:
        """The number of a list of involved jobs."""
        number = self._numbers.get(involved)
        if number is None:
            number = self._numbers[involved] = len(self.lists)
            self.lists.append(involved)
        return number

    def add(self, rows: Rows, row: PackedRow) -> None:
        """One more row of these rows."""
        rows.add(row)
        self.count += 1
        self.values += rows.metrics

    def read(self, frame: Frame, names: Names) -> None:
        """Add what a frame of a log holds; `names` are the series and lists that its log has named so far."""
        names.series.extend(frame.series)
        names.involved.extend(frame.involved)
        for metric in frame.metrics:
            self.metrics[metric.name] = metric
        for number, time_ns, since_ns, involved, values in frame.rows:
            rows = self.rows(names.series[number])
            self.add(rows, rows.packed(time_ns, since_ns, self.number(names.involved[involved]), values))

    def series(self) -> Iterator[tuple[Series, Rows]]:
        """All series that have rows, in the order of files."""
        for series in sorted((one for one, rows in self._rows.items() if rows.count), key=sort_key):
            yield series, self._rows[series]

    def cells(self, series: Series) -> Cells:
        """The rows of a series as they came."""
        return self._rows[series].cells()


class Names:
    """What the numbers in a log stand for."""

    def __init__(self) -> None:
        self.series: list[Series] = []
        self.involved: list[Involved] = []
