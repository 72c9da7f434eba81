"""Files of a job's control group that come later, go, come again, or say what nobody understands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.observe.cgroups import UNIFIED, Hierarchies
from jobmeter.observe.host import this_host
from jobmeter.observe.kernel.cgroup import CgroupSource, Settings
from tests.observe.kernel_groups import Groups, groups, removed

__all__ = ["groups"]

JOB = JobIdentity("oar", "", "7")
SECOND = 1_000_000_000


class Read:
    """Reads one job each second."""

    def __init__(self, trees: Hierarchies, cgroups: dict[str, str]) -> None:
        self.source = CgroupSource(Settings(), this_host(), trees)
        self.jobs = [RunningJob(JOB, cgroups, 1)]
        self.now_ns = 0

    def __call__(self) -> dict[str, int | float | None]:
        """What has a value."""
        self.now_ns += SECOND
        return {
            name: value
            for sample in self.source.read(self.now_ns, self.jobs)
            for name, value in zip(sample.metrics, sample.values, strict=True)
            if value is not None
        }


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[tuple[Path, Read]]:
    """A plain folder that stands for a group of version 2."""
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "cpu.stat").write_text("usage_usec 1\nuser_usec 1\nsystem_usec 0\n")
    (folder / "cgroup.controllers").write_text("")
    read = Read(Hierarchies({}, str(tmp_path)), {UNIFIED: "job"})
    yield folder, read
    read.source.close()


def test_controllers_that_a_group_is_given_later_are_read(plain: tuple[Path, Read]) -> None:
    folder, read = plain
    assert read().keys() == {"cgroup_cpu_usage", "cgroup_cpu_user", "cgroup_cpu_system"}
    (folder / "memory.current").write_text("5\n")
    (folder / "memory.peak").write_text("6\n")
    assert read().items() >= {("cgroup_memory_current", 5), ("cgroup_memory_peak", 6)}
    (folder / "cgroup.controllers").write_text("cpu memory\n")
    (folder / "cpu.stat").write_text("usage_usec 1\nuser_usec 1\nsystem_usec 0\nnr_periods 3\nnr_throttled 2\n")
    assert read()["cgroup_cpu_throttled_periods"] == 2


def test_files_are_looked_for_ever_more_rarely(plain: tuple[Path, Read]) -> None:
    folder, read = plain
    for _ in range(200):
        read()
    (folder / "memory.current").write_text("5\n")
    seconds = next(second for second in range(1, 100) if "cgroup_memory_current" in read())
    assert seconds <= 31


def test_a_file_that_is_not_understood_costs_no_other_value_and_no_other_job(
    plain: tuple[Path, Read], caplog: pytest.LogCaptureFixture
) -> None:
    folder, read = plain
    (folder / "memory.current").write_text("5\n")
    (folder / "io.stat").write_text("8:0 rbytes=7 wbytes=8 rios=1 wios=1\n")
    read()
    (folder / "io.stat").write_text("8:0 rbytes=many wbytes=8\n")
    (folder / "cpu.stat").write_text("usage_usec 2\nuser_usec 1\nsystem_usec 0\n")
    for _ in range(2):
        values = read()
        assert (values["cgroup_cpu_usage"], values["cgroup_memory_current"]) == (2000, 5)
        assert "cgroup_io_read_bytes" not in values
    assert [record.message.split()[0] for record in caplog.records] == ["cgroup.not_understood"]
    (folder / "io.stat").write_text("8:0 rbytes=9 wbytes=8 rios=1 wios=1\n")
    assert read()["cgroup_io_read_bytes"] == 9


def test_a_group_that_is_made_anew_is_read_again_though_nobody_told(groups: Groups) -> None:
    if "memory" not in groups.roots:
        pytest.skip("all of a job is in one tree here")
    groups.make("alice_7")
    read = Read(groups.trees, dict.fromkeys(groups.roots, f"{groups.name}/alice_7"))
    assert {"cgroup_cpu_usage", "cgroup_memory_current"} <= read().keys()
    for lost, controller in (("cgroup_memory_current", "memory"), ("cgroup_cpu_usage", "cpuacct")):
        folder = groups.roots[controller] / "alice_7"
        removed(folder)
        assert lost not in read()
        folder.mkdir()
        for _ in range(3):
            values = read()
        assert {"cgroup_cpu_usage", "cgroup_memory_current"} <= values.keys()
    read.source.close()


def test_pressure_that_is_switched_off_and_on_for_a_group_is_read_while_it_is_on(groups: Groups) -> None:
    top = groups.trees.unified
    folder = Path(top or "/nowhere", groups.name, "alice_7")
    if top is None or not Path(top, "cgroup.threads").exists():
        pytest.skip("there is no tree of version 2 here")
    folder.mkdir(parents=True)
    switch = folder / "cgroup.pressure"
    if not switch.exists():
        pytest.skip("this kernel does not switch pressure")
    read = Read(Hierarchies({}, top), {UNIFIED: f"{groups.name}/alice_7"})
    try:
        switch.write_text("0")
        assert "cgroup_pressure_cpu_some" not in read()
        for state in ("1", "0", "1"):
            switch.write_text(state)
            for _ in range(4):
                values = read()
            assert ("cgroup_pressure_cpu_some" in values) == (state == "1")
            assert "cgroup_cpu_usage" in values
    finally:
        read.source.close()
        removed(folder)
        removed(folder.parent)
