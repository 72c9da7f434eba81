"""Joining: summaries taken and joined a second, records named a second, what a gatherer's summing costs, one history.

The history is one job's hour at one sample a second on four nodes, asked of a server of ours over HTTP.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry
from tests.serve.live import live

from jobmeter.keeping import NamedRecord
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.record import Component, MetaMap, Record, microseconds
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.model.summary import EnergySource, JobSummary, MetricSummary
from jobmeter.model.summing import Summing
from jobmeter.serve.joined import JoinSettings
from jobmeter.serve.joining import AT_ONCE, Joiner
from jobmeter.serve.joins import Joins
from jobmeter.serve.reads import Readers
from jobmeter.serve.table import Beside
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.open import open_store
from jobmeter.store.samples.open import SampleFolder
from jobmeter.store.summaries import Summaries

JOINS_MAX = 20_000
METRICS = 60
RUNNING = 1000
START = datetime(2024, 5, 1, tzinfo=UTC)
START_NS = microseconds(START) * 1000
_NAMES = ("cgroup_cpu_usage", "cgroup_memory_peak", *(f"metric_{number}" for number in range(METRICS - 2)))


class _Clock:
    def now(self) -> datetime:
        return START + timedelta(hours=2)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=JOINS_MAX, help="records, at most 20,000")
    parser.add_argument("--database", metavar="URL", help="SQLite in a temporary folder without it")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.database or f"sqlite:///{folder}/records.db"
        _join(url, min(arguments.records, JOINS_MAX))
        if arguments.database is None:
            _summing()
            _history(Path(folder), url)


def _records(count: int) -> Iterator[Record]:
    for number in range(count):
        meta: MetaMap = {"site_id": ("A",), "user_id": (f"u{number % 500}",)}
        stop = START + timedelta(hours=1)
        yield Record(f"slurm-{number}", (Component("Cores", 8, ()),), START, meta, stop)


def _summary(number: int) -> JobSummary:
    metrics = tuple(
        MetricSummary(name, "count", Kind.COUNTER, 3600, 0, 1, 2.5, 9, 2, 3, 4, 5, total=3.6e12, peak=2**30)
        for name in _NAMES
    )
    hour = 3600 * 10**9
    job = JobIdentity("slurm", "", str(number))
    return JobSummary(job, ("n1",), START_NS, START_NS + hour, 3600, 3600, 3600, True, metrics, 5e5, EnergySource.RAPL)


def _join(url: str, count: int) -> None:
    store, summaries = open_store(url, migrate=True), Summaries(url)
    records = list(_records(count))
    for at in range(0, count, 4000):
        store.put(records[at : at + 4000])
    _rate("records named, 4,000 at a time", count, _name(summaries, records))
    began = time.perf_counter()
    for at in range(0, count, 100):
        summaries.put([(_summary(number), f"slurm-{number}") for number in range(at, min(at + 100, count))])
    _rate(f"summaries of {METRICS} metrics taken, 100 at a time", count, time.perf_counter() - began)
    settings = JoinSettings(components=("all",))
    joiner = Joiner(store, summaries, Readers(), _Clock(), settings, Joins(CollectorRegistry()))
    began, after = time.perf_counter(), 0
    while found := summaries.waiting(after, AT_ONCE):
        joiner.join([job for _, job in found])
        after = found[-1][0]
    _rate("records joined", count, time.perf_counter() - began)
    if summaries.waiting(0, 1):
        raise SystemExit("not all were joined")
    summaries.close()
    store.close()


def _name(summaries: Summaries, records: list[Record]) -> float:
    began = time.perf_counter()
    for at in range(0, len(records), 4000):
        some = records[at : at + 4000]
        jobs = (JobIdentity("slurm", "c", one.record_id[6:]) for one in some)
        named = [
            NamedRecord(job, one.record_id, microseconds(one.start_time)) for job, one in zip(jobs, some, strict=True)
        ]
        summaries.name_records(named)
    return time.perf_counter() - began


def _summing() -> None:
    """Summing of jobs that run for long: what a sample costs, and what it costs to write down all that is summed."""
    metrics = tuple(Metric(name, "count", Kind.COUNTER, "") for name in _NAMES)
    summing = Summing()
    began, samples = time.perf_counter(), 0
    for second in range(5):
        batch = SampleBatch("n1", tuple(_of_job(number, second) for number in range(RUNNING)), metrics)
        summing.add(batch)
        samples += RUNNING
    _rate(f"samples of {METRICS} counters summed", samples, time.perf_counter() - began)
    began = time.perf_counter()
    size = len(msgspec.msgpack.encode(summing.kept()))
    seconds = time.perf_counter() - began
    print(f"{RUNNING:,} running jobs written down  {seconds * 1000:.0f} ms ({size / 2**20:.0f} MiB)")


def _of_job(number: int, second: int) -> Sample:
    values = tuple(second * (place + 1) * (number % 7 + 1) for place in range(METRICS))
    job = JobIdentity("slurm", "", str(number))
    return Sample("cgroup", "n1", job, START_NS + second * 10**9, _NAMES, values, since_ns=START_NS)


def _history(folder: Path, url: str) -> None:
    samples = SampleFolder(folder / "samples", SampleBounds(), _Clock())
    names = _NAMES[:10]
    metrics = tuple(Metric(name, "count", Kind.COUNTER, "") for name in names)
    job = JobIdentity("slurm", "", "1")
    for second in range(3600):
        batch = tuple(
            Sample("cgroup", f"n{node}", job, START_NS + second * 10**9, names, (second,) * 10) for node in range(4)
        )
        samples.sink().write(SampleBatch("n", batch, metrics))
    samples.sink().flush()
    store = open_store(url)
    took: list[float] = []
    with live(store, beside=Beside(samples, Summaries(url))) as server:
        for step in ("", "&step=1m"):
            took.clear()
            for _ in range(7):
                connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
                began = time.perf_counter()
                connection.request("GET", f"/v2/samples?manager=slurm&job=1{step}")
                size = len(connection.getresponse().read())
                took.append(time.perf_counter() - began)
                connection.close()
            kind = "by the minute" if step else "whole"
            print(
                f"one job's hour of 4 nodes over HTTP, {kind}  {statistics.median(took) * 1000:.0f} ms ({size:,} bytes)"
            )
    store.close()
    samples.close()


def _rate(work: str, count: int, seconds: float) -> None:
    print(f"{work}  {count / seconds:,.0f} /s")


if __name__ == "__main__":
    main()
