"""Events counted for a real control group, where this kernel counts them and we may ask it to."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobmeter.contract import Reading, SourceAbsent, SourceUnreadable
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.host import this_host
from jobmeter.observe.kernel.perf import PerfSource, Settings
from tests.observe.kernel_groups import BURN, removed

_START = "import os, sys; sys.stdin.readline(); os.execvp(sys.argv[1], sys.argv[1:])"
_EVENTS = ("cpu_clock", "page_faults", "context_switches")


def _tree(trees: Hierarchies) -> tuple[str, str]:
    """The controller's name, "" for the unified tree, and the root of the tree that events are counted in."""
    if "perf_event" in trees.old:
        return "perf_event", trees.old["perf_event"]
    if trees.unified is None:
        pytest.skip("this machine has no tree in which events are counted")
    return "", trees.unified


@pytest.fixture
def job() -> Iterator[tuple[RunningJob, Path]]:
    """A job without processes, and its folder."""
    name, root = _tree(hierarchies(this_host()))
    folder = Path(root, f"jobmeter-perf-{uuid.uuid4().hex[:8]}")
    try:
        folder.mkdir()
    except OSError as fault:
        pytest.skip(f"control groups cannot be made here: {fault.strerror}")
    try:
        yield RunningJob(JobIdentity("oar", "", "7"), {name: folder.name}, 1), folder
    finally:
        if folder.exists():
            removed(folder)


@pytest.fixture
def source() -> Iterator[PerfSource]:
    """The source, for events that every kernel counts without a meter in the processor."""
    host = this_host()
    try:
        opened = PerfSource(Settings(events=_EVENTS), host, hierarchies(host))
    except SourceAbsent as reason:
        pytest.skip(str(reason))
    yield opened
    opened.close()


def _counted(source: PerfSource, job: RunningJob, reading: Reading = Reading.ALL) -> dict[str, int | float | None]:
    try:
        (sample,) = source.read(2, [job], reading)
    except SourceUnreadable as fault:
        pytest.skip(f"this kernel counts no events for us: {fault}")
    return dict(zip(sample.metrics, sample.values, strict=True))


def _run(folder: Path, seconds: float) -> None:
    """A process that is in the group from its first instruction and uses so much processor time."""
    words = [sys.executable, "-S", "-c", _START, sys.executable, "-S", "-c", BURN, str(seconds)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE)
    (folder / "cgroup.procs").write_text(str(process.pid))
    process.communicate(b"\n")
    assert process.returncode == 0


def test_what_the_processes_of_a_group_do_is_counted_and_nothing_else(
    source: PerfSource, job: tuple[RunningJob, Path]
) -> None:
    running, folder = job
    before = _counted(source, running)
    if None in before.values():
        pytest.skip(f"this kernel does not count: {before}")
    _run(folder, 0.4)
    after = _counted(source, running)
    grown = {name: (after[name] or 0) - (before[name] or 0) for name in after}
    assert 0.4e9 <= grown["perf_cpu_clock"] < 1.5e9
    assert grown["perf_page_faults"] > 100
    assert grown["perf_context_switches"] >= 1
    assert _counted(source, running) == after


def test_the_counters_outlive_the_folder_of_the_job(source: PerfSource, job: tuple[RunningJob, Path]) -> None:
    running, folder = job
    _counted(source, running)
    _run(folder, 0.1)
    removed(folder)
    last = _counted(source, running, Reading.LAST)
    assert (last["perf_cpu_clock"] or 0) >= 0.1e9
    assert list(source.read(3, [running], Reading.LAST)) == []
