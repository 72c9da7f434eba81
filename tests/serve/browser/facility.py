"""A small facility in real stores, with names that are markup, as if it were running at this moment."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from jobmeter.contract import Clock
from jobmeter.model.facility import Received
from jobmeter.model.job import JobIdentity
from jobmeter.model.letter import DeadLetter
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.record import Component, Record
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.observe.kernel import commands
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import Beside
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.documents import Documents
from jobmeter.store.open import open_store
from jobmeter.store.samples.open import SampleFolder
from jobmeter.store.tokens import Tokens
from jobmeter.wire.auditor import encode_record
from tests.serve.live import Live, live

HOSTILE = "<script>document.title='taken'</script>\"'><img src=x onerror=alert(1)>"
NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
NODES = ("node-01", "node-02", "node-03", HOSTILE)

METRICS = (
    Metric("procstats_loadavg_1min", "count", Kind.GAUGE, "Load."),
    Metric("procstats_meminfo_memtotal", "kibibytes", Kind.GAUGE, "Memory."),
    Metric("procstats_meminfo_memavailable", "kibibytes", Kind.GAUGE, "Memory."),
    Metric("ipmi_power", "watts", Kind.GAUGE, "Power."),
    Metric("network_rx_bytes", "bytes", Kind.COUNTER, "Received."),
    Metric("network_tx_bytes", "bytes", Kind.COUNTER, "Sent."),
    Metric("agent_cpu", "nanoseconds", Kind.COUNTER, "Processor time."),
    Metric("agent_resident", "bytes", Kind.GAUGE, "Memory."),
    Metric("agent_stretch", "count", Kind.GAUGE, "Stretch."),
    Metric("agent_source_reads", "count", Kind.COUNTER, "Reads."),
    Metric("agent_source_faults", "count", Kind.COUNTER, "Faults."),
    Metric("agent_source_spent", "nanoseconds", Kind.COUNTER, "Spent."),
    Metric("agent_sending", "count", Kind.GAUGE, "Sending."),
    Metric("cgroup_memory_current", "bytes", Kind.GAUGE, "Memory."),
    Metric("cgroup_cpu_usage", "nanoseconds", Kind.COUNTER, "Processor time."),
    *commands.METRICS,
)


class Fixed:
    """A clock that stands at NOW."""

    def now(self) -> datetime:
        return NOW


@contextmanager
def facility(folder: Path, settings: ServeSettings | None = None, clock: Clock | None = None) -> Iterator[Live]:
    """A server over it."""
    url = f"sqlite:///{folder / 'records.db'}"
    clock = clock or Fixed()
    store, documents, tokens = open_store(url, migrate=True), Documents(url), Tokens(url)
    samples = SampleFolder(folder / "samples", SampleBounds(), clock)
    store.put(list(_records()))
    late = encode_record(
        Record("late-1", (), NOW - timedelta(days=2), {"site_id": ("physics",)}, NOW - timedelta(days=1))
    )
    store.bury(
        [
            DeadLetter("127.0.0.1", f"meta: {HOSTILE}", b"{}", NOW - timedelta(minutes=7), 2),
            DeadLetter(HOSTILE, "the database was full", late, NOW - timedelta(minutes=9), len(late)),
        ]
    )
    documents.keep(list(_documents()))
    sink = samples.sink()
    for batch in _batches():
        sink.write(batch)
    sink.flush()
    try:
        with live(store, settings, tokens, documents, clock, beside=Beside(samples)) as server:
            yield server
    finally:
        samples.close()
        tokens.close()
        documents.close()
        store.close()


@contextmanager
def empty(folder: Path) -> Iterator[Live]:
    """A server with nothing in it."""
    url = f"sqlite:///{folder / 'records.db'}"
    store, documents = open_store(url, migrate=True), Documents(url)
    try:
        with live(store, None, None, documents, Fixed()) as server:
            yield server
    finally:
        documents.close()
        store.close()


def _records() -> Iterator[Record]:
    for number in range(300):
        stop = NOW - timedelta(minutes=7 * number)
        meta: dict[str, tuple[str, ...]] = {
            "site_id": (("physics", "astro")[number % 2],),
            "user_id": ((f"u{number % 9}", HOSTILE)[number % 2],),
        }
        yield Record(f"r{number}", (Component("Cores", 8, ()),), stop - timedelta(hours=1), meta, stop)
    yield Record("slurm-470", (Component("Cores", 8, ()),), NOW - timedelta(hours=24), meta, None)


def _documents() -> Iterator[Received]:
    for step in range(0, 24 * 60, 15):
        at = NOW - timedelta(minutes=step)
        wave = 1 + math.sin(step / 180)
        for queue, size in (("long", 40), ("short", 12), (HOSTILE, 3)):
            yield _document(
                "condorqueue", at, subject=queue, queue=queue, idle=int(size * wave), running=size * 3, held=step % 4,
                allocated_cores=size * 24, allocated_mem=None,
            )  # fmt: skip
        users = ["ada", "grace", "edsger", HOSTILE][: 1 + (step // 60) % 4]
        yield _document("ssh", at, users, "login-1", login_node="login-1", users=users, ssh_user_count=len(users))
    yield _document("jupyter-ml", NOW, ["ada", "barbara"], users=["ada", "barbara"], jupyter_user_count=2)
    for host in ("login-1", "login-2"):
        yield _document("CPU", NOW, node=host, login_node=host, load=1.25)
        yield _document("MEM", NOW, node=host, login_node=host, total=2**36, available=2**35)
        network = {"sent": 4_000_000, "received": 9_000_000, "interval": 300}
        yield _document("NETWORK", NOW, node=host, login_node=host, network=network)
    for number in range(30):
        for state, minutes in (("idle", 200 - number), ("running", 200 - 3 * number)):
            at = NOW - timedelta(minutes=minutes)
            yield _document("condorjob", at, ["ada"], subject=f"{number}", state=state, users=["ada"], Id=number)


def _document(
    kind: str, at: datetime, people: list[str] | None = None, node: str | None = None, subject: str | None = None,
    **fields: object,
) -> Received:  # fmt: skip
    body = msgspec.json.encode({"kind": kind, "cluster": "hall-a", **fields})
    state = fields.get("state")
    return Received(
        kind, "hall-a", at, at, body, node, subject, None if state is None else str(state), tuple(people or ())
    )


def _batches() -> Iterator[SampleBatch]:
    now_ns = int(NOW.timestamp()) * 10**9
    for place, node in enumerate(NODES):
        for step in range(1440, -1, -5):
            yield SampleBatch(node, tuple(_samples(node, place, step, now_ns - step * 60 * 10**9)), METRICS)


def _samples(node: str, place: int, step: int, time_ns: int) -> Iterator[Sample]:
    wave = 1 + math.sin(step / 100 + place)
    job = JobIdentity("slurm", "hall-a", f"47{place}")
    machine = tuple(metric.name for metric in METRICS[:3])
    values = (round(16 * wave, 2), 128 * 2**20, int(64 * 2**20 * (1.2 - wave / 2)))
    yield Sample("procstats", node, None, time_ns, machine, values, "", None, (job,))
    yield Sample("ipmi", node, None, time_ns, ("ipmi_power",), (round(210 + 180 * wave),))
    passed = 1440 - step
    yield Sample(
        "network",
        node,
        None,
        time_ns,
        ("network_rx_bytes", "network_tx_bytes"),
        (passed * 9 * 10**8, passed * 10**8),
        "eth0",
    )
    used = ("cgroup_memory_current", "cgroup_cpu_usage")
    yield Sample("cgroup", node, job, time_ns, used, (2**33, (1440 - step) * 60 * 7 * 10**9))
    names = tuple(metric.name for metric in commands.METRICS)
    for command, cores in (("python3", 5), (HOSTILE[:40], 1)):
        told = ((1440 - step) * 60 * cores * 100, 2**20, 4)
        yield Sample("commands", node, job, time_ns, names, told, command)
    own = ("agent_cpu", "agent_resident", "agent_stretch")
    yield Sample("agent", node, None, time_ns, own, (passed * 2 * 10**8, 31 * 2**20, 1))
    sources = ("agent_source_reads", "agent_source_faults", "agent_source_spent")
    yield Sample(
        "agent", node, None, time_ns, sources, (passed * 12, 3 if place == 1 else 0, passed * 10**7), "procstats"
    )
    yield Sample("agent", node, None, time_ns, ("agent_sending",), (7 if place == 2 else 0,), "samples_dropped")
    yield Sample("agent", node, None, time_ns, ("agent_sending",), (place,), "messages_waiting")
