"""The sample store: bytes a value at rest, values a second in, one job's whole history, how soon a tail sees a sample.

The samples are this machine's own: its /proc is read for a while, ten times a second. Many nodes get what was read,
each from another moment on. Every change is made larger or smaller by chance, so that no node repeats another or
itself, and changes of counters ten times as large, as they would be at one sample a second. `--recorded FILE` takes
real samples in place of that, for one node and as they are: JSON lines of numbers by name, `t` in nanoseconds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.model.series import SampleQuestion
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.samples.reader import SampleStoreReader
from jobmeter.store.samples.tail import SampleTail
from jobmeter.store.samples.writer import SampleStoreWriter

START_NS = 1_700_000_000 * 10**9
READINGS = 200
JOBS = 40
NODES_PER_JOB = 4


class _Clock:
    def now(self) -> datetime:
        return datetime.fromtimestamp(START_NS / 1e9 + 7200, UTC)


Reading = dict[str, int | float]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000, help="values to store, times ten at most")
    parser.add_argument("--recorded", type=Path, help="samples to use in place of this machine's")
    arguments = parser.parse_args(argv)
    readings = _recorded(arguments.recorded) if arguments.recorded else list(_readings(READINGS))
    names = tuple(sorted(readings[0]))
    with tempfile.TemporaryDirectory() as folder:
        writer = SampleStoreWriter(Path(folder), SampleBounds(seal_seconds=10**6, head_bytes=2**24), _Clock())
        if arguments.recorded:
            _as_recorded(writer, readings, names)
        else:
            _fill(writer, readings, names, arguments.records)
        _sizes(writer, Path(folder), len(names))
        writer.close()
        if not arguments.recorded:
            _read(Path(folder))
            _tail(Path(folder), _metrics(names))


def _metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    kinds = [Kind.GAUGE if name.startswith(("mem", "load")) else Kind.COUNTER for name in names]
    return tuple(Metric(name, "count", kind, "") for name, kind in zip(names, kinds, strict=True))


def _readings(count: int) -> Iterator[Reading]:
    for _ in range(count):
        yield reading()
        time.sleep(0.1)


def reading() -> Reading:
    """What this machine's /proc says now."""
    found: Reading = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        found[f"mem_{name}"] = int(rest.split()[0]) * 1024
    for line in Path("/proc/vmstat").read_text().splitlines():
        name, value = line.split()
        if name in ("pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault"):
            found[f"vm_{name}"] = int(value)
    for line in Path("/proc/stat").read_text().splitlines():
        words = line.split()
        if words[0] == "cpu":
            for place, name in enumerate(("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"), 1):
                found[f"cpu_{name}"] = int(words[place]) * 10_000_000
        elif words[0] in ("ctxt", "intr", "processes"):
            found[f"stat_{words[0]}"] = int(words[1])
    for name, text in zip(("1", "5", "15"), Path("/proc/loadavg").read_text().split(), strict=False):
        found[f"load{name}"] = float(text)
    return found


def _recorded(path: Path) -> list[Reading]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    names = set.intersection(*(set(row) for row in rows))
    return [{name: row[name] for name in names} for row in rows]


def _as_recorded(writer: SampleStoreWriter, readings: list[Reading], names: tuple[str, ...]) -> None:
    for one in readings:
        values = tuple(one[name] for name in names if name != "t")
        plain = tuple(name for name in names if name != "t")
        sample = Sample("procstats", "n", None, int(one["t"]), plain, values)
        writer.write(SampleBatch("n", (sample,), _metrics(plain)))


def _fill(writer: SampleStoreWriter, readings: list[Reading], names: tuple[str, ...], records: int) -> None:
    metrics = _metrics(names)
    chance = random.Random(1)
    nodes = [_Node(number, readings, names, chance) for number in range(JOBS * NODES_PER_JOB)]
    seconds = max(600, min(3600, records * 10 // (len(nodes) * len(names))))
    taken = 0.0
    for second in range(seconds):
        stamp = START_NS + second * 10**9 + 1_000_000 + int(chance.random() * 300) * 1000
        batches = []
        for number, node in enumerate(nodes):
            job = JobIdentity("slurm", "bench", str(number // NODES_PER_JOB))
            one = Sample("procstats", f"n{number:03d}", job, stamp, names, node.values())
            batches.append(SampleBatch(one.node, (one,), metrics if second == 0 else ()))
        begin = time.perf_counter()
        for batch in batches:
            writer.write(batch)
        writer.flush()
        taken += time.perf_counter() - begin
    begin = time.perf_counter()
    writer.reopen()
    writer.tidy()
    taken += time.perf_counter() - begin
    rate = seconds * len(nodes) * len(names) / taken
    print(f"values in, durable each second, with merging  {rate:12,.0f} values/s")


def _sizes(writer: SampleStoreWriter, folder: Path, columns: int) -> None:
    writer.reopen()
    reader = SampleStoreReader(folder)
    state = reader.state()
    reader.close()
    print(
        f"at rest, {columns} metrics, {state.segments} segments  {state.segment_bytes / state.values:12.2f} bytes/value"
    )
    if state.rollups:
        print(f"at rest, rollups by minute and hour  {state.rollup_bytes / state.values:12.3f} bytes/value")


class _Node:
    """What one node would have read."""

    def __init__(self, number: int, readings: list[Reading], names: tuple[str, ...], chance: random.Random) -> None:
        self._readings = readings
        self._names = names
        self._chance = chance
        self._at = number * 17 % len(readings)
        self._now = [readings[self._at][name] for name in names]

    def values(self) -> tuple[int | float, ...]:
        before = self._readings[self._at]
        self._at = (self._at + 1) % len(self._readings)
        after = self._readings[self._at]
        for place, name in enumerate(self._names):
            change = (after[name] - before[name]) * self._chance.uniform(0.5, 1.5)
            if name.startswith("mem"):
                self._now[place] = max(self._now[place] + int(change) // 1024 * 1024, 0)
            elif name.startswith("load"):
                self._now[place] = round(max(self._now[place] + change, 0.0), 2)
            else:
                self._now[place] += max(int(change * 10), 0)
        return tuple(self._now)


def _read(folder: Path) -> None:
    times = []
    for job in range(20):
        begin = time.perf_counter()
        reader = SampleStoreReader(folder)
        tables = list(reader.tables(SampleQuestion(job=str(job), manager="slurm")))
        times.append(time.perf_counter() - begin)
        reader.close()
    cells = sum(len(table.times_ns) * len(table.columns) for table in tables)
    shown = f"history of a job, {NODES_PER_JOB} nodes, {cells:,} values, cold"
    print(f"{shown}  {statistics.median(times) * 1000:12.1f} ms")
    reader = SampleStoreReader(folder)
    times = []
    for job in range(20):
        begin = time.perf_counter()
        list(reader.tables(SampleQuestion(job=str(job), step_ns=60 * 10**9)))
        times.append(time.perf_counter() - begin)
    reader.close()
    print(f"the same by the minute  {statistics.median(times) * 1000:12.1f} ms")


def _tail(folder: Path, metrics: tuple[Metric, ...]) -> None:
    """From `write` to the sample in the hands of a tail that looks every 50 ms."""
    writer = SampleStoreWriter(folder, SampleBounds(), _Clock())
    tail = SampleTail(folder)
    seen: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.extend(time.perf_counter() for sample in tail.read() if sample.source == "tail")
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    written = []
    for number in range(20):
        time.sleep(0.13)
        written.append(time.perf_counter())
        stamp = START_NS + 10**13 + number
        writer.write(SampleBatch("n1", (Sample("tail", "n1", None, stamp, (metrics[0].name,), (number,)),), metrics))
    time.sleep(0.3)
    done.set()
    thread.join()
    tail.close()
    writer.close()
    late = [saw - wrote for saw, wrote in zip(seen, written, strict=True)]
    print(f"a tail that looks every 50 ms sees a sample after  {statistics.median(late) * 1000:12.1f} ms")


if __name__ == "__main__":
    main()
