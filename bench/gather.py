"""How much processor time and memory a gatherer takes for what nodes send; Colmet's collector in the same run.

Messages are those of Colmet's nodes: one record of the node and one for each of its jobs, pushed as fast as they are
taken. What is counted is the program's own processor time, its start left out: records for each second of one core.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import h5py
import zmq
from tests.colmet.real import python as colmet_python
from tests.process import free_port
from tests.sinks.samples.bulk_server import BulkServer

from jobmeter.wire.colmet import ColmetRecord, encode

RECORDS = 40_000
LONGER = 3
"""So many times as many records where there are thousands of jobs, as each of them costs a table at its beginning."""
OUTPUTS = ("HDF5", "Elasticsearch", "Parquet", "sample store")
OF_COLMET = ("HDF5", "Elasticsearch")
JOBS_OF_A_NODE = 20
START = 1_700_000_000
_TICKS = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.gather", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS, help="records sent in each measurement")
    parser.add_argument("--without-colmet", action="store_true", help="leave Colmet's collector out")
    options = parser.parse_args(argv)
    records = min(options.records, RECORDS)
    print(f"messages of nodes with {JOBS_OF_A_NODE} jobs; processor time of the gatherer alone")
    for output in OUTPUTS:
        for jobs in (40, 400):
            _compared(output, jobs, records, 3, with_colmet=not options.without_colmet and output in OF_COLMET)
        _compared(output, 5000, records * LONGER, 1, with_colmet=False)
    for output in OUTPUTS:
        _compared(output, 20_000, records * LONGER, 1, with_colmet=False, senders=1000)
    return 0


def _compared(  # noqa: PLR0913 - what a row of the table is about
    output: str, jobs: int, records: int, times: int, *, with_colmet: bool, senders: int = 1
) -> None:
    """Print the medians of several measurements: the rate, and the largest memory."""
    programs = ["jobmeter", "colmet"] if with_colmet else ["jobmeter"]
    for program in programs:
        measured = [_measured(program, output, jobs, records, senders) for _ in range(times)]
        rate = statistics.median(records / used_seconds for used_seconds, _ in measured)
        memory = statistics.median(mebibytes for _, mebibytes in measured)
        nodes = f" of {senders:,} connections" if senders > 1 else ""
        work = f"{output}, {jobs:,} jobs{nodes}{', Colmet' if program == 'colmet' else ''}"
        print(f"  {work}  {rate:,.0f} records/s  (of one core; {records:,} records, median of {times})")
        print(f"  {work}, memory  {memory:,.1f} MiB", flush=True)


def messages(jobs: int, records: int) -> Iterator[bytes]:
    """Messages with that many records in all, of as many nodes as those jobs need, the same jobs again and again."""
    sent = 0
    nodes = max(1, jobs // JOBS_OF_A_NODE)
    for turn in range(records):
        for node in range(nodes):
            if sent >= records:
                return
            stamp, host = START + turn, f"node{node}"
            own = [ColmetRecord("procstats_default", host, 0, stamp, (*range(58), 1.0, 1.0, 1.0, 1.0, 1.0, "[]"))]
            first = node * JOBS_OF_A_NODE + 1
            of_jobs = [
                ColmetRecord("taskstats_default", host, job, stamp, tuple(range(turn, turn + 30)))
                for job in range(first, first + min(JOBS_OF_A_NODE, records - sent - 1))
            ]
            sent += 1 + len(of_jobs)
            yield encode(own + of_jobs)


def _measured(program: str, output: str, jobs: int, records: int, senders: int) -> tuple[float, float]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        words = ["-s", "0.5", "--buffer-size", "5000", "--zeromq-bind-uri", f"tcp://127.0.0.1:{port}"]
        if output.startswith("HDF5"):
            words += ["--hdf5-filepath", str(folder / "data.hdf5")]
        elif output == "Parquet":
            words += ["--parquet", str(folder / "parquet")]
        elif output == "sample store":
            config = folder / "gather.toml"
            config.write_text(f'listen.acknowledged = ""\njournal.folder = ""\nsamples.path = "{folder}/samples"\n')
            words.append(str(config))
        else:
            words += ["--elastic-host", stack.enter_context(BulkServer()).address]
        process = _started(program, words, folder)
        time.sleep(3)
        before = _used_seconds(process.pid)
        _push(port, jobs, records, senders)
        _until_quiet(process.pid)
        os.kill(process.pid, signal.SIGTERM)
        largest, usage = _ended(process.pid)
        process.returncode = 0
        if program == "jobmeter":
            _nothing_is_missing((folder / "log").read_text(), records)
            if output.startswith("HDF5"):
                _all_rows_are_there(folder / "data.hdf5", records)
        return usage.ru_utime + usage.ru_stime - before, largest


def _nothing_is_missing(told: str, records: int) -> None:
    """Raises where the gatherer did not take all, or an output did not get all: such a figure says nothing."""
    if "feeder.missed" in told or f"gather.stopped samples={records}" not in told:
        raise RuntimeError(f"the gatherer lost something:\n{told}")


def _all_rows_are_there(path: Path, records: int) -> None:
    """Raises where the tables of the file do not have as many rows as there were records."""
    with h5py.File(path) as file:
        rows = sum(len(table) for group in file.values() for table in group.values())
    if rows != records:
        raise RuntimeError(f"the file has {rows} rows of {records}")


def _started(program: str, words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    if program == "colmet":
        command = [colmet_python(), str(Path(colmet_python()).with_name("colmet-collector")), *words]
    else:
        command = [sys.executable, "-m", "jobmeter", "gather", "--as-colmet", *words]
    with (folder / "log").open("w") as log:
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)


def _push(port: int, jobs: int, records: int, senders: int) -> None:
    """Send all of it, over that many connections in turn; each node has one of its own when there are as many."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.max_sockets = senders + 10
    outlets = [context.socket(zmq.PUSH) for _ in range(senders)]
    for outlet in outlets:
        outlet.connect(f"tcp://127.0.0.1:{port}")
    for number, message in enumerate(messages(jobs, records)):
        outlets[number % senders].send(message)
    for outlet in outlets:
        outlet.close(60_000)
    context.term()


def _until_quiet(pid: int) -> None:
    """Wait until the program has hardly used the processor for some seconds."""
    last, quiet = -1.0, 0
    while quiet < 12:
        time.sleep(0.5)
        used = _used_seconds(pid)
        quiet = quiet + 1 if used - last < 0.05 else 0
        last = used


def _ended(pid: int) -> tuple[float, resource.struct_rusage]:
    """Wait for the end of the program: its largest memory in MiB, and what it used.

    The memory is the program's own: `ru_maxrss` would tell that of this process, which it was begun from, when larger.
    """
    largest = 0.0
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        largest = max([largest, *(int(line.split()[1]) / 1024 for line in status.splitlines() if "VmHWM" in line)])
        done, _, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return largest, usage
        time.sleep(0.05)


def _used_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    raise SystemExit(main())
