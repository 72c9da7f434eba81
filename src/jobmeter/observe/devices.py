"""A file of /proc with a line of counters for each device of the node: each disk, each interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from jobmeter.contract import Reading, SourceAbsent, SourceUnreadable
from jobmeter.model.job import RunningJob
from jobmeter.model.metric import Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.host import Host
from jobmeter.observe.kept import kept

Parse = Callable[[str], Iterable[tuple[str, tuple[int, ...]]]]
"""From the text of the file to the devices that are wanted, each with its counters in the order of the metrics.

Raises ValueError or IndexError for a text that it does not understand.
"""


class DeviceCounters:
    """The sample source `name`, which reads `file`. Raises SourceAbsent where the machine has no such file."""

    def __init__(self, name: str, host: Host, file: str, metrics: Sequence[Metric], parse: Parse) -> None:
        self.metrics = tuple(metrics)
        self._name = name
        self._node = host.name
        self._names = tuple(metric.name for metric in metrics)
        self._path = file
        self._parse = parse
        opened = kept(str(host.path(file)))
        if opened is None:
            raise SourceAbsent(f"there is no {file}")
        self._file = opened

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """A sample of the node per device."""
        if reading is not Reading.ALL:
            return
        try:
            found = list(self._parse(self._file.read_all().decode("utf-8", "replace")))
        except (OSError, ValueError, IndexError) as fault:
            raise SourceUnreadable(f"{self._path} is not understood: {fault}") from None
        involved = tuple(job.identity for job in jobs)
        for device, values in found:
            yield Sample(self._name, self._node, None, now_ns, self._names, values, device, involved=involved)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
