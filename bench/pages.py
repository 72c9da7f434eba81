"""How fast the pages come with many records, 200 sampled nodes and a day of facility documents.

    python -m bench.pages --records 1000000
    python -m bench.pages --records 10000000 --folder /var/tmp/ten --ingest --browser
    python -m bench.pages --records 10000000 --postgresql

Each page is asked for over loopback as a browser does, on one connection, of a server that is a process of its own.
"First" is the median of the first asks of five servers that were just started, so nothing is kept from an earlier
visitor; "again" the median of twenty more. The processor time is the server's, with all it does meanwhile.
With `--ingest` a thousand records a second are posted to that server by one more process. With `--browser` Chromium
says when it has first painted something of a page: from the click on, with an empty cache, in a tab that shows
something of the server already, so that the start of browser and tab is not in it. With `--folder` or `--database`
what was filled once is asked again (a large one is filled quickly by `bench.filled`).
"""

from __future__ import annotations

import argparse
import http.client
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import timedelta
from itertools import islice
from pathlib import Path

import msgspec

from bench.postgresql import create_database, private_server
from bench.records import replicated, site_name
from bench.shown import NOW, Stopped, fed, server
from jobmeter.contract import RecordStore
from jobmeter.model.facility import Received
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.question import Order, Question, Scope
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.documents import Documents
from jobmeter.store.open import open_store
from jobmeter.store.samples.open import SampleFolder
from jobmeter.wire.auditor import decode_record

NODES = 200
USER, SITE = "user0007", site_name(3)
QUEUES = 10
SERVERS, ASKS = 5, 20
PATHS = {
    "now": "/", "jobs": "/jobs", "jobs of a user": f"/jobs?user={USER}", "jobs, sums": "/jobs/totals",
    "jobs by wall time": "/jobs?order=-runtime", "jobs of all time by wall time": "/jobs?since=&order=-runtime",
    "rare jobs of all time": "/jobs?since=&longer=9000",
    "job": "/job/{job}", "nodes": "/nodes", "node": "/nodes/node-007",
    "users": "/users", "user": f"/users/{USER}", "site": f"/sites/{SITE}",
    "queues": "/queues", "reports": "/reports", "health": "/health", "seen and stored": "/reconciliation",
}  # fmt: skip
BATCH = 1000

METRICS = (
    Metric("procstats_loadavg_1min", "count", Kind.GAUGE, "Load."),
    Metric("procstats_meminfo_memtotal", "kibibytes", Kind.GAUGE, "Memory."),
    Metric("procstats_meminfo_memavailable", "kibibytes", Kind.GAUGE, "Memory."),
    Metric("ipmi_power", "watts", Kind.GAUGE, "Power."),
    Metric("cgroup_memory_current", "bytes", Kind.GAUGE, "Memory."),
)


Started = Callable[[], AbstractContextManager[tuple[int, int]]]
"""Starts a server: its port and process id."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one line a row."""
    parser = argparse.ArgumentParser(prog="bench.pages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000, metavar="N")
    parser.add_argument("--database", metavar="URL", help="default: SQLite in the folder")
    parser.add_argument("--postgresql", action="store_true", help="in a PostgreSQL of its own")
    parser.add_argument("--folder", type=Path, metavar="F", help="keep database and samples here")
    parser.add_argument("--ingest", action="store_true", help="write records meanwhile")
    parser.add_argument("--browser", action="store_true", help="ask Chromium for its first contentful paint, too")
    arguments = parser.parse_args(argv)
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jobmeter-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        url = arguments.database or f"sqlite:///{folder}/store.sqlite"
        if arguments.postgresql:
            url = create_database(stack.enter_context(private_server()), "pages")
        last = _filled(url, arguments.records, folder / "samples")

        @contextmanager
        def started() -> Iterator[tuple[int, int]]:
            with server(url, folder / "samples") as (port, pid), ExitStack() as feeding:
                if arguments.ingest:
                    feeding.enter_context(fed(port))
                yield port, pid

        print(
            f"pages with {arguments.records:,} records, {NODES} nodes" + (", under ingest" if arguments.ingest else "")
        )
        paths = {name: path.format(job=last) for name, path in PATHS.items()}
        measure(started, paths)
        if arguments.browser:
            paint(started, paths)
    return 0


def measure(started: Started, paths: Mapping[str, str]) -> None:
    """Ask for all pages, of several servers one after the other."""
    first: dict[str, list[float]] = {name: [] for name in paths}
    again: dict[str, list[float]] = {name: [] for name in paths}
    processor: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(SERVERS):
        with started() as (port, pid), closing(http.client.HTTPConnection("127.0.0.1", port)) as line:
            for name, path in paths.items():
                spent = _processor_ms(pid)
                first[name].append(_ask(line, path))
                processor[name].append(_processor_ms(pid) - spent)
            for name, path in paths.items():
                again[name] += [_ask(line, path) for _ in range(ASKS // SERVERS)]
    for name in paths:
        print(f"{'page ' + name + ', first':44}{statistics.median(first[name]):12,.1f} ms")
        print(f"{'page ' + name + ', first, slowest':44}{max(first[name]):12,.1f} ms")
        print(f"{'page ' + name + ', again':44}{statistics.median(again[name]):12,.1f} ms")
        print(f"{'processor time of ' + name + ', first':44}{statistics.median(processor[name]):12,.1f} ms", flush=True)


def paint(started: Started, paths: Mapping[str, str]) -> None:
    """When Chromium has first painted something of each page, of servers that were just started."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - an extra of the tests

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in paths}
    with sync_playwright() as program:
        chromium = program.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        for _ in range(SERVERS):
            with started() as (port, _pid):
                root = f"http://127.0.0.1:{port}"
                for name, path in paths.items():
                    context = chromium.new_context()
                    page = context.new_page()
                    page.goto(f"{root}/health_check")
                    page.goto(f"{root}{path}", wait_until="commit")
                    found[name].append(tuple(page.evaluate(FIRST_PAINT)))
                    context.close()
        chromium.close()
    for name in paths:
        painted, answered = zip(*found[name], strict=True)
        print(f"{'painted ' + name + ', first':44}{statistics.median(painted):12,.1f} ms")
        print(f"{'answer begins of ' + name + ', first':44}{statistics.median(answered):12,.1f} ms", flush=True)


FIRST_PAINT = """() => new Promise(tell => new PerformanceObserver(list => {
    const found = list.getEntriesByName("first-contentful-paint");
    const begun = performance.getEntriesByType("navigation")[0].responseStart;
    if (found.length) tell([found[0].startTime, begun]);
}).observe({type: "paint", buffered: true}))"""


def _processor_ms(pid: int) -> float:
    """The processor time that all threads of a process have used until now."""
    spent = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        spent += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
    return spent / 1e6


def _ask(line: http.client.HTTPConnection, path: str) -> float:
    start = time.perf_counter()
    line.request("GET", path, headers={"accept": "text/html"})
    answer = line.getresponse()
    answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path} was answered with {answer.status}")
    return (time.perf_counter() - start) * 1000


def _filled(url: str, wanted: int, samples_folder: Path) -> str:
    """Fill an account that is empty, and its samples and documents; the id of the newest record."""
    store, documents = open_store(url, migrate=True), Documents(url)
    with closing(store), closing(documents):
        if not store.counts()[""]:
            given = replicated(wanted)
            while batch := list(islice(given, BATCH)):
                store.put(batch)
            while store.fold():
                pass
        if not samples_folder.exists():
            with closing(SampleFolder(samples_folder, SampleBounds(), Stopped())) as samples:
                _watched(documents, samples)
        return _newest(store)


def _newest(store: RecordStore) -> str:
    (body,) = store.page(Question(Scope.everything(), order=Order(descending=True), limit=1), 1).bodies
    return decode_record(body).record_id


def _watched(documents: Documents, samples: SampleFolder) -> None:
    """What facility documents and samples say of the last day."""
    documents.keep(list(_documents()))
    sink = samples.sink()
    for samples_of_node in _batches():
        sink.write(samples_of_node)
    sink.flush()


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
