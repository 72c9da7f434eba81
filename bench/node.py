"""What a node's agent costs, ours and the real colmet-node side by side, and what each knows of its jobs' time.

Control groups and processes are real; it must run as root, on a kernel with the old trees `cpuset` and `cpuacct`. The
processor time is the sum over the threads of `schedstat`, the memory is the resident one of `smaps_rollup`. Both
programs are installed as on a node, without what only servers need: the real colmet from PyPI into a folder of its own,
or taken from the folder that COLMET_VENV names, and jobmeter into one that is made anew.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import zmq

TREES = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpuset", "cpuacct", "memory")
NAME = f"jobmeter-bench-{os.getpid()}"
BURN = "while True: pass"
STIR = "import time\nwhile True:\n    time.sleep(0.1)\n    for _ in range(1000): pass"
SOME = "import sys, time\nend = time.process_time() + float(sys.argv[1])\nwhile time.process_time() < end: pass\n"
SETTLE_SECONDS = 6

_STREAM = "e=$((SECONDS+{seconds})); while [ $SECONDS -lt $e ]; do {one} %s; done"

SHAPES = {
    "one steady process": ["{python}", "-S", "-c", SOME, "{seconds}"],
    "processes of 50 ms": ["/bin/bash", "-c", _STREAM % 0.03],
    "processes of 1.7 s": ["/bin/bash", "-c", _STREAM % 1.6],
    "processes of 7 s": ["/bin/bash", "-c", _STREAM % 6.8],
    "one job of 3 s": ["{python}", "-S", "-c", SOME, "2.8"],
}

_HOLD = "import os, sys; sys.stdin.readline(); os.execvp(sys.argv[1], sys.argv[1:])"

_THREADS = """import sys, threading, time
threading.stack_size(65536)
for _ in range(int(sys.argv[1]) - 1): threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
time.sleep(3600)
"""

CASES: tuple[tuple[int, int, int, int, float, tuple[str, ...]], ...] = (
    (1, 20, 1, 1, 1.0, ()),
    (20, 200, 1, 1, 1.0, ()),
    (20, 200, 1, 20, 1.0, ()),
    (20, 200, 1, 1, 5.0, ()),
    (20, 200, 1, 1, 1.0, ("--enable-jobproc",)),
    (1, 9, 223, 1, 1.0, ()),
    (1, 9, 223, 1, 5.0, ()),
    (1, 2000, 1, 1, 1.0, ("--enable-jobproc",)),
)
"""Jobs, processes in all of them, threads in each but the first, jobs that work, period in seconds, further options.

Where one job works, its first process burns a processor; where all do, the first of each wakes ten times a second.
"""

WINDOW_SECONDS = 5.0
"""The processor time is the median of parts of the time that are so long: each holds as much of all that is done."""


class Jobs:
    """Folders of jobs in the trees, and processes in them."""

    def __init__(self) -> None:
        self.roots = [TREES / controller / NAME for controller in CONTROLLERS]
        self.processes: list[subprocess.Popen[bytes]] = []
        for root in self.roots:
            root.mkdir()
            _inherit(root)

    def make(self, number: int) -> None:
        """The folder `user_NUMBER` in each tree."""
        for root in self.roots:
            (root / f"user_{number}").mkdir()
            _inherit(root / f"user_{number}")

    def start(self, number: int, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """A process in a job."""
        hold = [sys.executable, "-S", "-c", _HOLD]
        process = subprocess.Popen([*hold, *argv], stdin=subprocess.PIPE)
        for root in self.roots:
            (root / f"user_{number}" / "cgroup.procs").write_text(str(process.pid))
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        self.processes.append(process)
        return process

    def used_ns(self, number: int) -> int:
        """The kernel's word on a job's processor time."""
        return int((TREES / "cpuacct" / NAME / f"user_{number}" / "cpuacct.usage").read_text())

    def remove(self, number: int) -> None:
        """The folders of a job whose processes have ended."""
        for root in self.roots:
            _removed(root / f"user_{number}")

    def close(self) -> None:
        """End all processes, remove all folders."""
        for process in self.processes:
            process.kill()
            process.wait()
        for root in self.roots:
            for folder in root.iterdir():
                if folder.is_dir():
                    _removed(folder)
            _removed(root)


@contextlib.contextmanager
def drained() -> Iterator[tuple[str, list[bytes]]]:
    """A socket that takes whatever a node sends, and the messages."""
    messages: list[bytes] = []
    context = zmq.Context()
    taking = context.socket(zmq.PULL)
    port = taking.bind_to_random_port("tcp://127.0.0.1")
    stop = threading.Event()

    def take() -> None:
        while not stop.is_set():
            if taking.poll(100):
                messages.append(taking.recv())

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{port}", messages
    finally:
        stop.set()
        thread.join()
        taking.close(0)
        context.term()


def peer_folder() -> Path | None:
    """Where the real colmet is installed; None when it cannot be."""
    if (given := os.environ.get("COLMET_VENV")) is not None:
        return Path(given)
    folder = Path(tempfile.gettempdir()) / "jobmeter-bench-colmet"
    if not (folder / "bin" / "colmet-node").exists() and not _installed(folder, "colmet"):
        return None
    return folder


def own_python() -> str:
    """The Python of an installation of jobmeter without extras; the present one when that cannot be made."""
    folder = Path(tempfile.mkdtemp(prefix="jobmeter-bench-node-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    is_there = _installed(folder, str(Path(__file__).parents[1]))
    return str(folder / "bin" / "python") if is_there else sys.executable


def _installed(folder: Path, what: str) -> bool:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    done = subprocess.run([str(folder / "bin" / "pip"), "-q", "install", what], check=False)
    if done.returncode:
        shutil.rmtree(folder)
    return done.returncode == 0


class Programs(NamedTuple):
    """The Python that has jobmeter, and the folder that has the real colmet."""

    python: str
    peer: Path | None


def command(which: str, programs: Programs, uri: str, period: float, extra: Sequence[str] = ()) -> list[str]:
    """The node's command line."""
    program = [programs.python, "-m", "jobmeter", "node"]
    if which == "colmet" and programs.peer is not None:
        program = [str(programs.peer / "bin" / "colmet-node")]
    elif which == "jobmeter as colmet":
        program += ["--as-colmet"]
    else:
        file = Path(tempfile.gettempdir()) / f"{NAME}.toml"
        file.write_text("[sending]\nacknowledge = false\n")
        program += [str(file)]
    root = str(TREES / "cpuset" / NAME)
    return [*program, "-s", str(period), "--cpuset_rootpath", root, "--zeromq-uri", uri, *extra]


def cost(which: str, programs: Programs, period: float, seconds: float, extra: Sequence[str]) -> tuple[float, float]:
    """Percent of a core (the median of the windows), and MB of memory (resident) of a node that runs for so long."""
    with drained() as (uri, _):
        quiet = subprocess.DEVNULL
        words = command(which, programs, uri, period, extra)
        process = subprocess.Popen(words, cwd="/", stdout=quiet, stderr=quiet)
        time.sleep(SETTLE_SECONDS + period)
        window = max(period, WINDOW_SECONDS)
        percent = statistics.median(_percent(process.pid, window) for _ in range(max(1, round(seconds / window))))
        memory = _resident_mb(process.pid)
        _end(process)
    return percent, memory


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a node; the real one does not always end when it is asked to."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def overhead(programs: Programs, seconds: float, cases: Sequence[int]) -> None:
    """Rows of what nodes cost."""
    for jobs_count, processes, threads, working, period, extra in [CASES[number - 1] for number in cases]:
        jobs = Jobs()
        try:
            for number in range(jobs_count):
                jobs.make(1000 + number)
            for number in range(processes):
                jobs.start(1000 + number % jobs_count, _work(number, threads, working))
            time.sleep(SETTLE_SECONDS if threads > 1 else 0)
            for which in _nodes(programs.peer):
                percent, memory = cost(which, programs, period, seconds, extra)
                options = "".join(f" {each}" for each in extra) + (", all jobs at work" if working > 1 else "")
                what = f"{processes} processes" if threads == 1 else f"{1 + (processes - 1) * threads} threads"
                name = f"{which}, {jobs_count} jobs with {what}, {period:g} s{options}"
                print(f"{name}, processor  {percent:.3f} percent", flush=True)
                print(f"{name}, memory  {memory:.1f} MB", flush=True)
        finally:
            jobs.close()


def _work(number: int, threads: int, working: int) -> list[str]:
    """What a process of a job does: the first of those that work do, the others sleep."""
    if number < working:
        return [sys.executable, "-S", "-c", BURN if working == 1 else STIR]
    return ["sleep", "3600"] if threads == 1 else [sys.executable, "-S", "-c", _THREADS, str(threads)]


def accuracy(programs: Programs, seconds: int) -> None:
    """Rows of how much of its jobs' processor time our node knows at their end."""
    for period in (1.0, 5.0):
        for shape, argv in SHAPES.items():
            share = known(programs, argv, period, seconds)
            print(f"{shape}, {period:g} s, of the kernel's count known  {share:.2f} percent", flush=True)


def known(programs: Programs, argv: Sequence[str], period: float, seconds: int) -> float:
    """How much of a job's processor time the node has told when the job is over, in percent of the kernel's count."""
    one = f"{sys.executable} -S -c '{SOME}'"
    places = {"{python}": sys.executable, "{one}": one, "{seconds}": str(seconds)}
    jobs = Jobs()
    with tempfile.TemporaryFile() as out:
        words = [*command("jobmeter", programs, "tcp://127.0.0.1:9", period), "--print"]
        node = subprocess.Popen(words, cwd="/", stdout=out, stderr=subprocess.DEVNULL)
        try:
            time.sleep(2)
            jobs.make(7)
            jobs.start(7, [_filled(word, places) for word in argv]).wait()
            true = jobs.used_ns(7)
            jobs.remove(7)
            time.sleep(1.5)
        finally:
            node.terminate()
            node.wait()
            jobs.close()
        out.seek(0)
        told = [json.loads(line).get("values", {}) for line in out]
    values = [values["cgroup_cpu_usage"] for values in told if "cgroup_cpu_usage" in values]
    return float(100 * values[-1] / true) if values else 0.0


def _filled(word: str, places: dict[str, str]) -> str:
    for place, value in places.items():
        word = word.replace(place, value)
    return word


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=0, help="has no effect here")
    parser.add_argument("--seconds", type=float, default=20, help="how long each node is measured")
    parser.add_argument("--only", choices=("overhead", "accuracy"))
    every = range(1, len(CASES) + 1)
    parser.add_argument("--case", type=int, action="append", choices=every, help="which overhead; may be repeated")
    arguments = parser.parse_args(argv)
    if os.geteuid() != 0 or not all((TREES / controller / "tasks").exists() for controller in CONTROLLERS):
        print("# needs root and the old trees of control groups; nothing was measured", file=sys.stderr)
        return
    programs = Programs(own_python(), peer_folder())
    if arguments.only != "accuracy":
        overhead(programs, arguments.seconds, arguments.case or every)
    if arguments.only != "overhead":
        accuracy(programs, int(arguments.seconds))


def _nodes(peer: Path | None) -> list[str]:
    return ["jobmeter", "jobmeter as colmet", *(["colmet"] if peer is not None else [])]


def _percent(pid: int, seconds: float) -> float:
    before = _used_ns(pid)
    time.sleep(seconds)
    return (_used_ns(pid) - before) / seconds / 1e7


def _used_ns(pid: int) -> int:
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files)


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Rss:")) / 1000


def _inherit(folder: Path) -> None:
    """A folder of cpusets takes no process before it has processors and memory."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (folder / name).exists():
            (folder / name).write_text((folder.parent / name).read_text())


def _removed(folder: Path) -> None:
    for _ in range(400):
        with contextlib.suppress(OSError):
            folder.rmdir()
        if not folder.exists():
            return
        time.sleep(0.005)


if __name__ == "__main__":
    main()
