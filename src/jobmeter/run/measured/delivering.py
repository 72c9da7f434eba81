"""Delivers what runs have left in their spools: in a process of its own that nobody waits for."""

from __future__ import annotations

import argparse
import os
import threading
from pathlib import Path

from jobmeter.contract import Sink
from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.pump import Pump
from jobmeter.deliver.turn import Turn
from jobmeter.peer import TlsFilesUnusable
from jobmeter.run.measured.keeping import opened, spools_of
from jobmeter.sinks import measured, server


def deliver(arguments: argparse.Namespace, seconds: float) -> int:
    """Deliver until nothing is left, or for so long; 1 when something is left. Others may do so at the same time."""
    records, measurements = spools_of(arguments.deliver, arguments.server)
    token = os.environ.get("JOBMETER_TOKEN") or None if arguments.token_file is None else None
    known = {
        "address": arguments.server,
        "ca_file": arguments.ca,
        "certificate_file": arguments.certificate,
        "key_file": arguments.key,
        "token": token,
        "token_file": arguments.token_file,
    }
    try:
        # Samples of a job first, so that its page has curves as soon as it is there.
        done = _emptied(measurements, measured.open_sink(measured.Settings(**known)), seconds)
        return 0 if _emptied(records, server.open_sink(server.Settings(**known)), seconds) and done else 1
    except (TlsFilesUnusable, SpoolFault, OSError):
        return 1


def _emptied(file: Path, sink: Sink, seconds: float) -> bool:
    try:
        if not file.exists():
            return True
        with Turn(file).taken() as ours:
            if not ours:
                return False
            with opened(file) as spool:
                return Pump(spool, sink, threading.Event()).drain(seconds)
    finally:
        sink.close()
