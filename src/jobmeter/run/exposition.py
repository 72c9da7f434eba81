"""Metrics in Prometheus' text format: into a file, or at an address, or both.

The file is for the textfile collector of node_exporter: written beside its place and renamed into it, so that nobody
reads half of it. Metrics that are not known yet are left out.
"""

from __future__ import annotations

import http.server
import logging
import os
import resource
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from jobmeter.settings.deployment import Metrics

EVERY_SECONDS = 15.0

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger("jobmeter.run")


class Figure(NamedTuple):
    """One value of a metric; None: not known now."""

    name: str
    kind: str
    help: str
    value: float | None
    labels: Mapping[str, str] | None = None


class Spoken(Protocol):
    """Somebody with metrics."""

    def text(self) -> str:
        """All metrics now; may be called from several threads."""
        ...


def rendered(figures: Iterable[Figure]) -> str:
    """The text. Values of one metric stand together, under one head, in the order in which they come."""
    by_name: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.value is not None:
            by_name.setdefault(figure.name, []).append(figure)
    lines: list[str] = []
    for name, group in by_name.items():
        lines += [f"# HELP {name} {group[0].help}", f"# TYPE {name} {group[0].kind}"]
        lines += [f"{name}{_labels(figure.labels or {})} {_number(figure.value or 0)}" for figure in group]
    return "\n".join(lines) + "\n"


def of_process(started: float) -> Iterator[Figure]:
    """What the process itself uses; `started` in seconds since 1970."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield Figure("process_cpu_seconds_total", "counter", "CPU seconds used.", used.ru_utime + used.ru_stime)
    yield Figure("process_resident_memory_bytes", "gauge", "Resident memory in bytes.", _resident_bytes())
    yield Figure("process_start_time_seconds", "gauge", "Start, in seconds since 1970.", started)


@contextmanager
def published(metrics: Spoken, settings: Metrics) -> Iterator[None]:
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


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}" if labels else ""
