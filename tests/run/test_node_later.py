"""What comes after the agent has begun: drivers and their devices, trees of control groups, the right to read."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from jobmeter.contract import SourceUnreadable
from jobmeter.observe import agent as agents
from jobmeter.observe import renewed
from jobmeter.observe.agent import Agent, Scheduled
from jobmeter.observe.ceiling import Ceiling
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.host import Host, SystemClock, this_host
from jobmeter.observe.jobs.finder import JobFinder
from jobmeter.observe.kernel import disk, infiniband, lustre, procstats, rapl, taskstats, thermal
from jobmeter.observe.latest import Latest
from jobmeter.observe.tasks.netlink import TaskstatsSocket
from jobmeter.run.agent import mounts as mounting
from jobmeter.run.agent.loop import Signals, loop
from jobmeter.run.agent.mounts import Mounts
from jobmeter.run.agent.sources import Openings, Wanted
from jobmeter.settings.deployment import Metrics
from tests.observe.kept_batches import KeptBatches


def _host(root: Path) -> Host:
    return Host(root, SystemClock(), {}, "n1")


def _write(root: Path, files: Mapping[str, object]) -> None:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{content}\n")


class Sender(KeptBatches):
    """Says of which sources it was given samples."""

    def sources(self) -> set[str]:
        return {sample.source for batch in self.batches for sample in batch.samples}


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done every minute is done every time."""
    monkeypatch.setattr(agents, "LATER_SECONDS", 0.0)
    monkeypatch.setattr(renewed, "_SECONDS", 0.0)
    monkeypatch.setattr(mounting, "_REST_SECONDS", 0.0)


ZONE = {"sys/class/thermal/thermal_zone0/type": "x86_pkg_temp", "sys/class/thermal/thermal_zone0/temp": 41000}


@pytest.mark.usefixtures("at_once")
def test_a_source_whose_device_comes_later_is_read_from_then_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    openings = Openings([Wanted("thermal", thermal.Settings(), 1.0)], _host(tmp_path))
    sender = Sender()
    finder = JobFinder(this_host(), Hierarchies({}, str(tmp_path)), [])
    agent = Agent("n1", finder, openings(), sender, ceiling=Ceiling(1000), later=openings)
    for _ in range(3):
        agent.turn(everything=True)
    assert "thermal" not in sender.sources()
    _write(tmp_path, ZONE)
    for _ in range(2):
        agent.turn(everything=True)
    agent.close()
    assert "thermal" in sender.sources()
    assert "thermal_temperature" in {metric.name for metric in sender.batches[-1].metrics}
    said = [record.message.split()[0] for record in caplog.records if "thermal" in record.message]
    assert said == ["node.source_absent", "node.source_opened"]


@pytest.mark.usefixtures("at_once")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_loop_listens_to_a_source_of_ends_that_could_be_opened_later_only(tmp_path: Path) -> None:
    told = threading.Event()
    source = taskstats.open_source(taskstats.Settings(), this_host())
    assert isinstance(source, taskstats.TaskstatsSource)
    stirred, sources = source.stirred, [[Scheduled("taskstats", source, 10**12)], []]

    def heard() -> object:
        told.set()
        return stirred()

    source.stirred = heard  # type: ignore[method-assign, assignment]
    finder = JobFinder(this_host(), Hierarchies({}, str(tmp_path)), [])
    agent = Agent("n1", finder, [], Sender(), ceiling=Ceiling(1000), later=lambda: sources.pop(0) if sources else [])
    signals = Signals()

    def stop_when_told() -> None:
        until = time.monotonic() + 30
        while not told.is_set() and time.monotonic() < until:
            subprocess.run([sys.executable, "-S", "-c", ""], check=True)
        signals.stop = True

    thread = threading.Thread(target=stop_when_told)
    with signals.installed():
        thread.start()
        loop(agent, signals, Metrics())
    thread.join()
    agent.close()
    assert told.is_set()


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Mounts and unmounts one more tree of control groups."""
    place, name = tmp_path / "tree", f"jobmeter{os.getpid()}"
    place.mkdir()
    mount = ["mount", "-t", "cgroup", "-o", f"none,name={name}", "x", str(place)]
    words = [mount, ["umount", str(place)]]

    def switch() -> None:
        subprocess.run(words[0], check=True)
        words.reverse()

    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no trees are mounted here")
    words.reverse()
    switch()
    yield switch
    if words[0] is not mount:
        switch()


@pytest.mark.usefixtures("at_once")
def test_the_loop_ends_to_begin_anew_when_a_tree_is_mounted_or_unmounted(
    tree: Callable[[], None], tmp_path: Path
) -> None:
    mounts = Mounts(this_host())
    assert mounts.descriptor is not None
    finder = JobFinder(this_host(), Hierarchies({}, str(tmp_path)), [])
    agent = Agent("n1", finder, [], Sender(), ceiling=Ceiling(1000))
    for _ in range(2):
        signals = Signals()
        thread = threading.Timer(0.1, tree)
        with signals.installed():
            thread.start()
            loop(agent, signals, Metrics(), mounts)
        thread.join()
        assert signals.reload
    agent.close()
    mounts.close()


@pytest.mark.usefixtures("at_once")
def test_other_mounts_than_of_control_groups_are_no_news(tmp_path: Path) -> None:
    mounts = Mounts(this_host())
    assert mounts.descriptor is not None
    poll = select.poll()
    poll.register(mounts.descriptor, select.POLLPRI)
    poll.poll(0)
    if subprocess.run(["mount", "-t", "tmpfs", "x", tmp_path], check=False, capture_output=True).returncode:
        pytest.skip("nothing is mounted here")
    try:
        ready = {number for number, _ in poll.poll(10_000)}
        assert mounts.descriptor in ready
        assert not mounts.have_changed(ready)
        assert poll.poll(0) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    mounts.close()


METER = {"name": "package-0", "max_energy_range_uj": 1000, "energy_uj": 100}


def _meter(number: int, **more: object) -> dict[str, object]:
    folder = f"sys/class/powercap/intel-rapl:{number}"
    return {f"{folder}/{key}": value for key, value in {**METER, "name": f"package-{number}", **more}.items()}


@pytest.mark.usefixtures("at_once")
def test_an_energy_meter_that_fails_takes_no_other_along_and_one_that_comes_is_read(tmp_path: Path) -> None:
    _write(tmp_path, {**_meter(0), **_meter(1, energy_uj="broken")})
    source = rapl.open_source(rapl.Settings(), _host(tmp_path))

    def energies() -> dict[str, object]:
        return {sample.instance: sample.values[0] for sample in source.read(1, ())}

    assert energies() == {"package-0": 100, "package-1": None}
    _write(tmp_path, {**_meter(0, energy_uj=50), **_meter(1), **_meter(2)})
    assert energies() == {"package-0": 1050, "package-1": 100, "package-2": 100}
    for number in range(3):
        _write(tmp_path, _meter(number, energy_uj=""))
    with pytest.raises(SourceUnreadable):
        energies()
    source.close()


@pytest.mark.usefixtures("at_once")
def test_zones_and_ports_that_were_reset_or_came_are_read(tmp_path: Path) -> None:
    temperature, port = list(ZONE)[1], "sys/class/infiniband/mlx5_0/ports/1/counters/port_rcv_data"
    _write(tmp_path, {**ZONE, port: 5})
    sources = [
        thermal.open_source(thermal.Settings(), _host(tmp_path)),
        infiniband.open_source(infiniband.Settings(), _host(tmp_path)),
    ]
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for number in range(1, 4):
        for path in (temperature, port):
            (tmp_path / path).unlink()
            _write(tmp_path, {path: number})
        read = [sample for source in sources for sample in source.read(1, ())]
        assert [sample.values for sample in read] == [(number,), (4 * number,)]
    assert len(os.listdir("/proc/self/fd")) == files  # noqa: PTH208
    _write(tmp_path, {port.replace("ports/1", "ports/2"): 1})
    assert len(list(sources[1].read(1, ()))) == 2
    for source in sources:
        source.close()


def test_a_file_of_proc_that_fails_later_takes_no_other_along(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pressure = "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    files = {"proc/stat": "cpu 1 2 3 4 5 6 7 8 9 10\nintr 1\nctxt 2", "proc/uptime": "5.0 6.0"}
    _write(tmp_path, {**files, "proc/pressure/cpu": pressure, "proc/pressure/io": pressure})
    source = procstats.open_source(procstats.Settings(), _host(tmp_path))

    def values() -> dict[str, object]:
        return {
            name: value
            for sample in source.read(1, ())
            for name, value in zip(sample.metrics, sample.values, strict=True)
        }

    assert values()["procstats_pressure_io_some"] == 7000
    for broken in ("", "nonsense total=x\n"):
        (tmp_path / "proc/pressure/io").write_text(broken)
        found = values()
        assert found["procstats_pressure_io_some"] is None
        assert (found["procstats_pressure_cpu_some"], found["procstats_uptime_total"]) == (7000, 5)
    (tmp_path / "proc/pressure/io").write_text(pressure)
    assert values()["procstats_pressure_io_some"] == 7000
    assert [record.message.split()[1] for record in caplog.records] == ["file=/proc/pressure/io"]
    source.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_answers_to_a_question_that_was_given_up_are_not_taken_for_others() -> None:
    socket = TaskstatsSocket()
    others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]  # noqa: PTH208
    asked = socket.ask(others[:40])
    next(asked)
    asked.close()  # type: ignore[attr-defined]
    assert [task for task, _, _ in socket.ask([os.getpid()])] == [os.getpid()]
    assert [task for task, _, _ in socket.ask([os.getpid()])] == [os.getpid()]
    socket.close()


def test_what_hangs_in_the_kernel_is_said_and_not_asked_a_second_time() -> None:
    began, answer = threading.Event(), threading.Event()
    calls = []

    def hangs(_: threading.Event) -> int:
        calls.append(1)
        began.set()
        answer.wait()
        return 7

    latest = Latest("hangs", hangs, 0.05, 0.1)
    assert began.wait(30)
    eventually(lambda: _fault(latest) is not None)
    assert calls == [1]
    answer.set()
    eventually(lambda: _fault(latest) is None)
    latest.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_that_nobody_thought_of_ends_no_reading_for_ever() -> None:
    answers: list[int] = []

    def get(_: threading.Event) -> int:
        if not answers:
            raise ZeroDivisionError
        return answers[0]

    latest = Latest("odd", get, 0.05)
    eventually(lambda: "begins again" in (_fault(latest) or ""))
    answers.append(7)
    found: list[int] = []

    def came() -> bool:
        with contextlib.suppress(SourceUnreadable):
            if (value := latest.take()) is not None:
                found.append(value[0])
        return bool(found)

    eventually(came)
    assert found == [7]
    latest.close()


def _fault(latest: Latest[int]) -> str | None:
    try:
        latest.take()
    except SourceUnreadable as fault:
        return str(fault)
    return None


STATS = "read_bytes 2 samples [bytes] 1 9 10\nwrite_bytes 1 samples [bytes] 5 5 5\n"


def test_a_file_system_that_cannot_be_read_takes_no_other_along(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    llite = tmp_path / "proc/fs/lustre/llite"
    _write(tmp_path, {"proc/fs/lustre/llite/one-ffff/stats": STATS, "proc/fs/lustre/llite/two-ffff/stats": STATS})
    (llite / "gone-ffff").mkdir()
    source = lustre.open_source(lustre.Settings(), _host(tmp_path))
    (llite / "two-ffff/stats").write_text("read_bytes many\n")
    for _ in range(2):
        assert [sample.instance for sample in source.read(1, ())] == ["one-ffff"]
    assert [record.message.split()[0] for record in caplog.records] == ["lustre.unreadable"]
    (llite / "one-ffff/stats").unlink()
    (llite / "two-ffff/stats").write_text(STATS)
    assert [sample.instance for sample in source.read(1, ())] == ["two-ffff"]
    source.close()


@pytest.mark.usefixtures("at_once")
def test_a_disk_whose_folder_comes_later_than_its_counters_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_ASK_SECONDS", 0.0)
    _write(tmp_path, {"proc/diskstats": "8 0 sda 1 0 2 3 4 0 5 6 0 7 8"})
    source = disk.open_source(disk.Settings(), _host(tmp_path))
    assert list(source.read(1, ())) == []
    (tmp_path / "sys/block/sda").mkdir(parents=True)
    assert [sample.instance for sample in source.read(1, ())] == ["sda"]
    source.close()


def eventually(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until it is so."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_group_that_a_person_named_is_measured_though_it_comes_later(tmp_path: Path) -> None:
    trees = hierarchies(this_host())
    folder = Path(next(iter(trees.roots().values())), f"jobmeter-test-{os.getpid()}")
    out = tmp_path / "out"
    with out.open("wb") as stdout:
        words = [sys.executable, "-m", "jobmeter", "node", "-s", "0.1", "-c", str(folder), "--print"]
        node = subprocess.Popen(words, stdout=stdout, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: b"procstats" in out.read_bytes())
            folder.mkdir()
            eventually(lambda: b"cgroup_cpu_usage" in out.read_bytes(), 60)
        finally:
            node.terminate()
            node.wait()
            folder.rmdir()
