"""What a collector's daemon says of itself, in Prometheus' text format: into a file, or at an address, or both.

The file is for the textfile collector of node_exporter: written beside its place and renamed into it, so that nobody
reads half of it. Metrics that are not known yet are left out.
"""

from __future__ import annotations

import http.server
import logging
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from jobmeter.deliver.announcements import Announcements
from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.spool import Spool
from jobmeter.deliver.tally import COUNTERS
from jobmeter.run.collector import Collector
from jobmeter.settings.deployment import Deployment, Metrics

EVERY_SECONDS = 15.0

_PREFIX = "jobmeter_collect_"
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger("jobmeter.run")


class _Metric(NamedTuple):
    name: str
    kind: str
    help: str
    value: float | None


class SelfMetrics:
    """The metrics of one daemon. `text` may be called from several threads."""

    def __init__(self, collector: Collector, spool: Spool, deployment: Deployment) -> None:
        self._collector = collector
        self._spool = spool
        self._deployment = deployment
        self._started = time.time()

    def text(self) -> str:
        """All metrics now. What the spool cannot say at this moment is left out."""
        label = _escaped(self._deployment.source)
        lines: list[str] = []
        for metric in self._metrics():
            if metric.value is not None:
                lines += [
                    f"# HELP {metric.name} {metric.help}",
                    f"# TYPE {metric.name} {metric.kind}",
                    f'{metric.name}{{source="{label}"}} {_number(metric.value)}',
                ]
        return "\n".join(lines) + "\n"

    def _metrics(self) -> Iterator[_Metric]:
        try:
            yield from self._of_spool()
        except SpoolFault as fault:
            log.warning("metrics.spool_unavailable reason=%r", fault.reason)
        yield from self._of_loops()
        used = resource.getrusage(resource.RUSAGE_SELF)
        yield _Metric("process_cpu_seconds_total", "counter", "CPU seconds used.", used.ru_utime + used.ru_stime)
        yield _Metric("process_resident_memory_bytes", "gauge", "Resident memory in bytes.", _resident_bytes())
        yield _Metric("process_start_time_seconds", "gauge", "Start, in seconds since 1970.", self._started)

    def _of_spool(self) -> Iterator[_Metric]:
        status = self._spool.status()
        yield _gauge("waiting", "Records that wait for the server.", status.entries)
        yield _gauge("waiting_bytes", "Bytes of the records that wait.", status.entries_bytes)
        yield _gauge("oldest_waiting_seconds", "How long the oldest of them waits.", status.oldest_seconds)
        yield _gauge("dead_letters", "Dead letters that are kept.", status.letters)
        if self._deployment.hook is not None:
            pending = len(Announcements(self._deployment.spool_file).pending())
            yield _gauge("announced_jobs", "Announced jobs that could not be taken yet.", pending)
        for name, meaning in COUNTERS.items():
            yield _counter(name, f"{meaning[:1].upper()}{meaning[1:]}.", status.counters[name])

    def _of_loops(self) -> Iterator[_Metric]:
        reading, delivery = self._collector.reading, self._collector.delivery
        yield _counter("readings", "Readings of the batch system that succeeded.", reading.succeeded)
        yield _counter("reading_failures", "Readings that failed.", reading.failed)
        yield _gauge("reading_failures_in_a_row", "Readings that failed since the last success.", reading.in_a_row)
        yield _gauge("last_reading_timestamp_seconds", "When a reading last succeeded.", _seconds(reading.last))
        yield _gauge("last_reading_seconds", "How long it took.", reading.took_seconds)
        yield _gauge(
            "newest_job_end_timestamp_seconds",
            "When the job that ended last of all read ones ended.",
            _seconds(reading.newest),
        )
        yield _counter("sends", "Groups of records offered to the server.", delivery.sends)
        yield _gauge("send_failures_in_a_row", "Groups that the server did not take, in a row.", delivery.failures)
        yield _gauge(
            "last_delivery_timestamp_seconds", "When the server last took a group.", _seconds(self._collector.delivered)
        )


@contextmanager
def published(metrics: SelfMetrics, settings: Metrics) -> Iterator[None]:
    """Within, the metrics are written and served as the settings ask for. Raises OSError when the address is taken."""
    stop = threading.Event()
    threads: list[threading.Thread] = []
    server = None if settings.port is None else _Server((settings.addr, settings.port), metrics.text)
    if server is not None:
        log.info("metrics.served address=http://%s:%d/metrics", settings.addr, server.server_port)
        threads.append(threading.Thread(target=server.serve_forever, name="metrics", daemon=True))
    if settings.file is not None:
        work = (metrics.text, Path(settings.file), stop)
        threads.append(threading.Thread(target=_write_on, args=work, name="metrics-file", daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if server is not None:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join(5)


def write(text: str, file: Path) -> None:
    """Put the text into the file, whole or not at all, readable by everyone. Raises OSError."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(0o644)
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def _write_on(text: Callable[[], str], file: Path, stop: threading.Event) -> None:
    failing = False
    while True:
        try:
            write(text(), file)
            failing = False
        except OSError as fault:
            if not failing:
                log.warning("metrics.not_written file=%s reason=%r", file, str(fault))
            failing = True
        if stop.wait(EVERY_SECONDS):
            return


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], text: Callable[[], str]) -> None:
        super().__init__(address, _Handler)
        self.text = text


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        """Answer with the metrics."""
        found = self.path.partition("?")[0] == "/metrics"
        body = self.server.text().encode() if found else b"see /metrics\n"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", _CONTENT_TYPE if found else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A scrape is no event."""


def _gauge(name: str, meaning: str, value: float | None) -> _Metric:
    return _Metric(_PREFIX + name, "gauge", meaning, value)


def _counter(name: str, meaning: str, value: float) -> _Metric:
    return _Metric(f"{_PREFIX}{name}_total", "counter", meaning, value)


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _resident_bytes() -> float | None:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    return float(int(pages) * os.sysconf("SC_PAGE_SIZE"))


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
