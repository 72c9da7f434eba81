"""Both directions, with the real programs on the other side, every column compared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import zmq

from jobmeter.model.sample import SampleBatch
from jobmeter.transport.colmet import ColmetMessages
from jobmeter.transport.sender import Sender, SenderSettings
from jobmeter.wire.colmet import FORMATS, columns, decode, types
from tests.colmet.real import started, tables
from tests.process import PATIENCE_SECONDS, eventually, free_port
from tests.sinks.samples.given import START, colmet_batch

ROOT = Path(__file__).parents[2]
WITHOUT_NVIDIA = tuple(sorted(set(FORMATS) - {"nvidiastats_default"}))
"""One record of nvidia ends Colmet's collector when it writes HDF5."""
ONLY_EMPTY_THERE = {("jobprocstats_default", "involved_jobs")}


@contextmanager
def ending(*processes: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def ended(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(PATIENCE_SECONDS)


def real_collector(folder: Path, port: int, file: Path) -> subprocess.Popen[str]:
    words = ("-v", "-s", "0.2", "--zeromq-bind-uri", f"tcp://127.0.0.1:{port}", "--hdf5-filepath", str(file))
    return started("colmet-collector", *words, cwd=folder)


def written(folder: Path) -> list[int]:
    """How many records the real collector has written at a time, as it logs."""
    return [
        int(number) for number in re.findall(r"Pushed (\d+) metrics", (folder / "colmet-collector.log").read_text())
    ]


def rows_in(file: Path) -> int:
    """How many rows are in the tables of a file that our gatherer is still writing."""
    try:
        with h5py.File(file, "r", swmr=True, locking=False) as opened:
            return sum(len(table) for group in opened.values() for table in group.values())
    except (OSError, KeyError, RuntimeError):
        return -1


def our_gatherer(folder: Path, port: int, file: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobmeter", "gather", "--as-colmet", "-s", "0.2", "--hdf5-filepath", str(file)]
    command += ["--zeromq-bind-uri", f"tcp://127.0.0.1:{port}", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with (folder / "gather.log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, text=True, env=environment)


def rows_of(table: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(table["rows"], key=lambda row: (row.get("timestamp", 0), row.get("counter_1", 0)))


def assert_same(theirs: dict[str, dict[str, Any]], ours: dict[str, dict[str, Any]]) -> int:
    """Every value of their file stands in ours; gives how many values were compared."""
    compared = 0
    assert set(theirs) == set(ours)
    for path, table in theirs.items():
        kind = path.rpartition("/")[2]
        assert len(table["rows"]) == len(ours[path]["rows"]), path
        for their_row, our_row in zip(rows_of(table), rows_of(ours[path]), strict=True):
            for name, value in their_row.items():
                if name not in our_row:
                    assert (kind, name) in ONLY_EMPTY_THERE and value == ""
                    continue
                assert our_row[name] == value, (path, name)
                compared += 1
    return compared


def test_what_the_real_node_sends_becomes_the_same_file_here_as_there(tmp_path: Path, jobs_folder: Path) -> None:
    job = jobs_folder / "alice_4711"
    job.mkdir()
    busy = subprocess.Popen([sys.executable, "-c", "while True: sum(range(10000))"], text=True)
    (job / "tasks").write_text(str(busy.pid))
    theirs, ours = tmp_path / "theirs.hdf5", tmp_path / "ours.hdf5"
    their_port, our_port = free_port(), free_port()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    between = context.socket(zmq.PULL)
    port = between.bind_to_random_port("tcp://127.0.0.1")
    words = ("-s", "0.3", "--cpuset_rootpath", str(jobs_folder), "--zeromq-uri", f"tcp://127.0.0.1:{port}")
    node = started("colmet-node", "--enable-jobproc", "--enable-temperature", *words, cwd=tmp_path)
    collector, gatherer = real_collector(tmp_path, their_port, theirs), our_gatherer(tmp_path, our_port, ours)
    with ending(node, collector, gatherer, busy):
        outlets = [context.socket(zmq.PUSH) for _ in range(2)]
        for outlet, there in zip(outlets, (their_port, our_port), strict=True):
            outlet.connect(f"tcp://127.0.0.1:{there}")
        number = 0
        for _ in range(8):
            assert between.poll(int(PATIENCE_SECONDS * 1000)), (tmp_path / "colmet-node.log").read_text()
            message = between.recv()
            number += len(decode(message).records)
            assert decode(message).fault is None
            for outlet in outlets:
                outlet.send(message)
        assert number >= 8 * 2
        eventually(lambda: sum(written(tmp_path)) == rows_in(ours) == number)
        assert (ended(collector), ended(gatherer)) == (0, 0)
    context.destroy(linger=0)
    found = tables(theirs)
    assert {"/job_4711/taskstats_default", "/job_4711/jobprocstats_default", "/job_0/procstats_default"} <= set(found)
    assert assert_same(found, tables(ours)) > 8 * 90


def test_the_real_collector_reads_every_column_that_our_node_sends(tmp_path: Path) -> None:
    file, port = tmp_path / "theirs.hdf5", free_port()
    collector = real_collector(tmp_path, port, file)
    with ending(collector):
        sender = Sender(SenderSettings((f"tcp://127.0.0.1:{port}",)), "n1", colmet=ColmetMessages())
        for at in range(3):
            sender.offer(colmet_batch(START + at, kinds=WITHOUT_NVIDIA))
        eventually(lambda: sum(written(tmp_path)) == 3 * len(WITHOUT_NVIDIA))
        sender.close(1)
        assert ended(collector) == 0, (tmp_path / "colmet-collector.log").read_text()
    found = tables(file)
    compared = 0
    for number, kind in enumerate(WITHOUT_NVIDIA):
        node_wide = "involved_jobs" in columns(kind) or kind.startswith("temperature")
        table = found[f"/job_{0 if node_wide else 4711}/{kind}"]
        assert len(table["rows"]) == 3
        for row in table["rows"]:
            for place, (name, form) in enumerate(zip(columns(kind), types(kind), strict=True)):
                if name in row and (kind, name) not in ONLY_EMPTY_THERE:
                    expected = {"s": "[1000, 7]", "f": place + 0.5}.get(form, 1000 * number + place)
                    assert row[name] == expected, (kind, name)
                    compared += 1
    assert compared == 3 * (30 + 63 + 7 + 5 + 24 + 5 + 5 + 2 + 6)


def test_all_classes_become_the_same_rows_here_as_there(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.hdf5", tmp_path / "ours.hdf5"
    their_port, our_port = free_port(), free_port()
    collector, gatherer = real_collector(tmp_path, their_port, theirs), our_gatherer(tmp_path, our_port, ours)
    arrived = (lambda: sum(written(tmp_path)), lambda: rows_in(ours))
    with ending(collector, gatherer):
        for port, count in zip((their_port, our_port), arrived, strict=True):
            sender = Sender(SenderSettings((f"tcp://127.0.0.1:{port}",)), "n1", colmet=ColmetMessages())
            for at in range(5):
                sender.offer(colmet_batch(START + at, kinds=WITHOUT_NVIDIA))
            eventually(lambda count=count: count() == 5 * len(WITHOUT_NVIDIA))  # type: ignore[misc]
            sender.close(1)
        assert (ended(collector), ended(gatherer)) == (0, 0)
    assert assert_same(tables(theirs), tables(ours)) > 5 * 150


def test_what_ends_the_real_collector_does_not_end_ours(tmp_path: Path) -> None:
    ours, our_port = tmp_path / "ours.hdf5", free_port()
    gatherer = our_gatherer(tmp_path, our_port, ours)
    with ending(gatherer):
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        outlet = context.socket(zmq.PUSH)
        outlet.connect(f"tcp://127.0.0.1:{our_port}")
        for junk in (
            b"",
            b"x",
            b"x" * 300,
            b"taskstats_default".ljust(300, b"\0"),
            b"otherstats_default".ljust(900, b"\0"),
        ):
            outlet.send(junk)
        sender = Sender(SenderSettings((f"tcp://127.0.0.1:{our_port}",)), "n1", colmet=ColmetMessages())
        sender.offer(SampleBatch("n1", colmet_batch(START).samples))
        eventually(lambda: rows_in(ours) == len(FORMATS))
        sender.close(1)
        assert ended(gatherer) == 0
        context.destroy(linger=0)
    assert len(tables(ours)) == len(FORMATS)


def test_a_file_that_the_real_collector_began_is_gone_on_in(tmp_path: Path) -> None:
    file, port = tmp_path / "data.hdf5", free_port()
    arrived = (lambda: sum(written(tmp_path)), lambda: rows_in(file) - len(WITHOUT_NVIDIA))
    for turn, program in enumerate((real_collector, our_gatherer)):
        process = program(tmp_path, port, file)
        with ending(process):
            sender = Sender(SenderSettings((f"tcp://127.0.0.1:{port}",)), "n1", colmet=ColmetMessages())
            sender.offer(colmet_batch(START + turn, kinds=WITHOUT_NVIDIA))
            eventually(lambda turn=turn: arrived[turn]() == len(WITHOUT_NVIDIA))  # type: ignore[misc]
            sender.close(1)
            assert ended(process) == 0
    for path, table in tables(file).items():
        assert len(table["rows"]) == 2, path
