"""How fast the pages come with many records, 200 sampled nodes and a day of facility documents.

    python -m bench.pages --records 1000000

Each page is asked for over loopback as a browser does, on one connection. "First" is the median of the first asks of
five servers that were just started, so nothing is kept from an earlier visitor; "again" the median of twenty more.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import msgspec

from bench.records import FIRST_STOP, SPAN_SECONDS, records
from jobmeter.contract import DocumentStore, RecordStore
from jobmeter.model.facility import Received
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.serve.app import make_app
from jobmeter.serve.server import Server, bind
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import Beside
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.documents import Documents
from jobmeter.store.open import open_store
from jobmeter.store.samples.open import SampleFolder

NOW = FIRST_STOP + timedelta(seconds=SPAN_SECONDS)
NODES = 200
QUEUES = 10
SERVERS, ASKS = 5, 20
PATHS = {"now": "/", "nodes": "/nodes", "node": "/nodes/node-007", "queues": "/queues", "health": "/health"}
BATCH = 1000

METRICS = (
    Metric("procstats_loadavg_1min", "count", Kind.GAUGE, "Load."),
    Metric("procstats_meminfo_memtotal", "kibibytes", Kind.GAUGE, "Memory."),
    Metric("procstats_meminfo_memavailable", "kibibytes", Kind.GAUGE, "Memory."),
    Metric("ipmi_power", "watts", Kind.GAUGE, "Power."),
    Metric("cgroup_memory_current", "bytes", Kind.GAUGE, "Memory."),
)


class Stopped:
    """A clock that stands at the end of the records."""

    def now(self) -> datetime:
        return NOW


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one line a row."""
    parser = argparse.ArgumentParser(prog="bench.pages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000, metavar="N")
    parser.add_argument("--database", metavar="URL", help="default: SQLite in a temporary folder")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="jobmeter-bench-") as folder:
        url = arguments.database or f"sqlite:///{folder}/store.sqlite"
        store, documents = open_store(url, migrate=True), Documents(url)
        samples = SampleFolder(Path(folder) / "samples", SampleBounds(), Stopped())
        try:
            _fill(store, arguments.records)
            documents.keep(list(_documents()))
            sink = samples.sink()
            for batch in _batches():
                sink.write(batch)
            sink.flush()
            print(f"pages with {arguments.records:,} records, {NODES} nodes")
            measure(store, documents, samples)
        finally:
            samples.close()
            documents.close()
            store.close()
    return 0


def measure(store: RecordStore, documents: DocumentStore, samples: SampleFolder) -> None:
    """Ask for all pages, on several servers one after the other."""
    first: dict[str, list[float]] = {name: [] for name in PATHS}
    again: dict[str, list[float]] = {name: [] for name in PATHS}
    for _ in range(SERVERS):
        with _server(store, documents, samples) as port, closing(http.client.HTTPConnection("127.0.0.1", port)) as line:
            for name, path in PATHS.items():
                first[name].append(_ask(line, path))
            for name, path in PATHS.items():
                again[name] += [_ask(line, path) for _ in range(ASKS // SERVERS)]
    for name in PATHS:
        print(f"{'page ' + name + ', first':44}{statistics.median(first[name]):12,.1f} ms")
        print(f"{'page ' + name + ', again':44}{statistics.median(again[name]):12,.1f} ms", flush=True)


def _ask(line: http.client.HTTPConnection, path: str) -> float:
    start = time.perf_counter()
    line.request("GET", path, headers={"accept": "text/html"})
    answer = line.getresponse()
    answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path} was answered with {answer.status}")
    return (time.perf_counter() - start) * 1000


@contextmanager
def _server(store: RecordStore, documents: DocumentStore, samples: SampleFolder) -> Iterator[int]:
    settings = ServeSettings()
    ready = threading.Event()
    app = make_app(store, settings, Stopped(), None, documents, beside=Beside(samples))
    server = Server(app, settings.limits, ready.set)
    sockets = bind(["127.0.0.1"], 0)
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        ready.wait(30)
        yield sockets[0].getsockname()[1]
    finally:
        server.stop()
        thread.join()


def _fill(store: RecordStore, count: int) -> None:
    given = records(count)
    while batch := list(islice(given, BATCH)):
        store.put(batch)
    while store.fold():
        pass


def _documents() -> Iterator[Received]:
    for step in range(0, 24 * 60, 5):
        at = NOW - timedelta(minutes=step)
        for number in range(QUEUES):
            told = {"queue": f"q{number}", "idle": step % 50, "running": 100, "held": 1, "allocated_cores": 800}
            yield Received("condorqueue", "c", at, at, msgspec.json.encode(told), None, f"q{number}")
        users = tuple(f"user{number:03d}" for number in range(60))
        body = msgspec.json.encode({"users": users})
        yield Received("ssh", "c", at, at, body, "login-1", users=users)


def _batches() -> Iterator[SampleBatch]:
    now_ns = int(NOW.timestamp()) * 10**9
    names = tuple(metric.name for metric in METRICS[:3])
    for step in range(24 * 60, -1, -5):
        time_ns = now_ns - step * 60 * 10**9
        for number in range(NODES):
            node = f"node-{number:03d}"
            job = JobIdentity("slurm", "c", str(number))
            machine = Sample("procstats", node, None, time_ns, names, (number / 7, 2**27, 2**26))
            power = Sample("ipmi", node, None, time_ns, ("ipmi_power",), (300 + number,))
            memory = Sample("cgroup", node, job, time_ns, ("cgroup_memory_current",), (2**33,))
            yield SampleBatch(node, (machine, power, memory), METRICS)


if __name__ == "__main__":
    raise SystemExit(main())
