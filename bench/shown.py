"""The server that `bench.pages` asks, and what feeds it, as processes of their own: neither shares the asker's time.

The clock of the server stands still in the evening of the last day of the records.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from msgspec.structs import replace

from bench.records import FIRST_STOP, SPAN_SECONDS, records
from jobmeter.serve.app import make_app
from jobmeter.serve.server import bind, serve
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import Beside
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.documents import Documents
from jobmeter.store.open import open_store
from jobmeter.store.samples.open import SampleFolder
from jobmeter.wire.auditor import encode_record

NOW = FIRST_STOP + timedelta(seconds=SPAN_SECONDS, hours=-6)
"""In the evening of the last day, so that something has happened today."""
FED_PER_SECOND = 1000
_START = "import sys; from bench.shown import {part}; {part}(sys.argv[1:])"


class Stopped:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW


@contextmanager
def server(url: str, samples: Path) -> Iterator[tuple[int, int]]:
    """A server that was just started, as (port, process id), until the block ends."""
    with _process("answer", url, str(samples)) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid


@contextmanager
def fed(port: int) -> Iterator[None]:
    """FED_PER_SECOND records a second are posted in bulk to the server, until the block ends."""
    with _process("feed", str(port)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield


def answer(given: Sequence[str]) -> None:
    """Be the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("samples", type=Path)
    arguments = parser.parse_args(given)
    settings = ServeSettings()
    with ExitStack() as stack:
        store, documents = open_store(arguments.url), Documents(arguments.url)
        samples = SampleFolder(arguments.samples, SampleBounds(), Stopped())
        for each in (store, documents, samples):
            stack.callback(each.close)
        app = make_app(store, settings, Stopped(), None, documents, beside=Beside(samples))
        sockets = bind(["127.0.0.1"], 0)
        # As `jobmeter serve` has it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        serve(app, settings.limits, sockets, lambda: print(sockets[0].getsockname()[1], flush=True))


def feed(given: Sequence[str]) -> None:
    """Post records; a line when some are stored."""
    line = http.client.HTTPConnection("127.0.0.1", int(given[0]))
    run, made = time.time_ns(), list(records(FED_PER_SECOND))
    due = time.monotonic()
    for turn in count():
        bodies = [
            encode_record(
                replace(one, record_id=f"slurm-{run}-{turn}-{place}", stop_time=NOW - timedelta(seconds=place))
            )
            for place, one in enumerate(made)
        ]
        line.request("POST", "/records", b"[" + b",".join(bodies) + b"]", {"content-type": "application/json"})
        told = line.getresponse()
        if told.read() or told.status != 200:
            raise SystemExit(f"the server took no records: {told.status}")
        if turn == 1:
            print("fed", flush=True)
        due += 1.0
        time.sleep(max(0.0, due - time.monotonic()))


@contextmanager
def _process(part: str, *given: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _START.format(part=part), *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait()
