"""Every output of the gatherer, given what a hostile or broken node may send: it takes or refuses it, and goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from jobmeter.contract import SampleSink
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.outcome import Accepted, Rejected
from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.observe.host import SystemClock
from jobmeter.run.gatherer.own import open_sample_store
from jobmeter.run.gatherer.summarizing import SummaryOutput
from jobmeter.settings.samples import SampleStoreSettings
from jobmeter.sinks.samples import elasticsearch, hdf5, parquet, remote_write, text
from jobmeter.wire.colmet_columns import RECORDS
from tests.sinks.samples.bulk_server import BulkServer
from tests.sinks.samples.given import START, own_batch
from tests.sinks.samples.test_remote_write import Receiver, address

NUMBERS = (0, -1, -(2**63), 2**63, 2**64 - 1, math.nan, math.inf, -math.inf, 1e308, None)
TIMES = (0, START * 10**9, 2**63 - 1)
NAMES = ("", "n" * 5000, "a\nb", "../../etc/x", "\0", "\N{GRINNING FACE}", "ü/;:=,\"'`$")


def extremes() -> Iterator[Sample]:
    """Samples of our sources and of Colmet's, each strange in one way that the intake lets through."""
    job = JobIdentity("slurm", "alpha", "4711")
    for number, at in product(NUMBERS, TIMES):
        yield Sample("cgroup", "n1", job, at, ("cgroup_cpu_usage",), (number,))
        for record in RECORDS:
            metrics = tuple(column.metric for column in record.columns if column.metric)[:3]
            names = tuple(dict.fromkeys(metrics))
            yield Sample(record.source, "n1", job, at, names, (number,) * len(names), "package-0", at)
    for name in NAMES:
        yield Sample(name, "n1", job, START, ("m",), (1,))
        yield Sample("cgroup", name, job, START, ("m",), (1,))
        yield Sample("cgroup", "n1", JobIdentity(name, name, name), START, ("m",), (1,))
        yield Sample("cgroup", "n1", None, START, (name,), (1,))
        yield Sample("cgroup", "n1", job, START, ("m",), (1,), name)
    yield Sample("cgroup", "n1", job, START, ("m", "m"), (1, 2))
    yield Sample("cgroup", "n1", job, START, (), ())
    yield Sample("cgroup", "n1", job, START, tuple(f"m{number}" for number in range(3000)), (1,) * 3000)


METRICS = (Metric("m", "unit", Kind.GAUGE, "M."), Metric("", "", Kind.COUNTER, ""))
MAKERS: dict[str, Callable[[Path, BulkServer, Receiver], SampleSink]] = {
    "text": lambda folder, _, __: text.open_sink(text.Settings(path=str(folder / "text"))),
    "colmet's text": lambda folder, _, __: text.open_sink(text.Settings(path=str(folder / "text"), form="colmet")),
    "hdf5": lambda folder, _, __: hdf5.open_sink(hdf5.Settings(path=str(folder / "data.hdf5"))),
    "parquet": lambda folder, _, __: parquet.open_sink(parquet.Settings(folder=str(folder))),
    "elasticsearch": lambda _, bulk, __: elasticsearch.open_sink(elasticsearch.Settings(address=bulk.address)),
    "remote write": lambda _, __, there: remote_write.open_sink(remote_write.Settings(address=address(there))),
    "store": lambda folder, _, __: open_sample_store(SampleStoreSettings(folder), SystemClock()),
    "summaries": lambda folder, _, __: SummaryOutput(
        folder,
        Spool(folder / "spool", SpoolSettings(), SystemClock()),
        SystemClock(),
        silent_seconds=60,
        flush_seconds=0,
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_strange_is_taken_or_refused_and_what_follows_is_taken(name: str, tmp_path: Path) -> None:
    with BulkServer() as bulk, Receiver() as there, closing(MAKERS[name](tmp_path, bulk, there)) as sink:
        samples = tuple(extremes())
        ends = tuple(JobEnd(sample.job, sample.node, sample.time_ns) for sample in samples if sample.job is not None)
        outcomes = sink.write(SampleBatch("n1", samples, METRICS, ends))
        assert all(isinstance(outcome, Accepted | Rejected) for outcome in outcomes)
        assert any(isinstance(outcome, Accepted) for outcome in outcomes)
        sink.flush()
        assert all(isinstance(outcome, Accepted) for outcome in sink.write(own_batch()))
        sink.flush()
        there.shutdown()
