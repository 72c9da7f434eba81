"""What both collectors print for the same records, line by line."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import zmq

from jobmeter.wire.colmet import FORMATS, ColmetRecord, Value, columns, encode, types
from tests.colmet.real import python
from tests.process import PATIENCE_SECONDS, eventually, free_port

ROOT = Path(__file__).parents[2]
BOUNDS = (0, 1, 999, 1000, 1001, 9999, 10_000, 10_001, 10_240, 10_241, 999_999, 1_000_001, 2**31, 2**40, 2**62)


def value(form: str, number: int) -> Value:
    if form == "s":
        return "[1000, 7]"
    return number / 4 if form == "f" else number % 2**32 if form == "I" else number


def records() -> list[ColmetRecord]:
    """Of every class some, with values at every bound of the rounding and between."""
    found = []
    chosen = random.Random(5)
    for kind in sorted(FORMATS):
        for at in range(len(BOUNDS)):
            numbers = [
                BOUNDS[(at + place) % len(BOUNDS)] if place % 2 else int(10 ** chosen.uniform(0, 15))
                for place in range(len(types(kind)))
            ]
            values = tuple(map(value, types(kind), numbers))
            found.append(ColmetRecord(kind, "n1", 4711, 1_700_000_000 + at, values))
        missing = tuple("[]" if form == "s" else None for form in types(kind))
        found.append(ColmetRecord(kind, "n2", 0, 1_700_000_100, missing))
    return found


def printed(folder: Path, command: list[str]) -> list[str]:
    """What a collector prints for those records, one message each."""
    port, out = free_port(), folder / "out"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    with out.open("w") as stream, (folder / "log").open("w") as told:
        words = ["-s", "0.2", "--buffer-size", "1000", "--enable-stdout-backend"]
        words += ["--zeromq-bind-uri", f"tcp://127.0.0.1:{port}"]
        process = subprocess.Popen([*command, *words], cwd=folder, stdout=stream, stderr=told, env=environment)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        outlet = context.socket(zmq.PUSH)
        outlet.connect(f"tcp://127.0.0.1:{port}")
        for record in records():
            outlet.send(encode([record]))
        eventually(lambda: out.read_text().count("\n}\n") == len(records()) or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0, (folder / "log").read_text()
    finally:
        process.kill()
        process.wait()
        context.destroy(linger=0)
    return out.read_text().splitlines()


def test_every_class_is_printed_as_the_real_collector_prints_it(tmp_path: Path) -> None:
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
    theirs = printed(tmp_path / "theirs", [python(), str(Path(python()).with_name("colmet-collector"))])
    ours = printed(tmp_path / "ours", [sys.executable, "-m", "jobmeter", "gather", "--as-colmet"])
    assert len(theirs) == sum(len(columns(record.kind)) + 2 for record in records())
    assert ours == theirs
