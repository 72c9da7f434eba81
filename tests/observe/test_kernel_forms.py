"""The forms that tools, libraries and the kernel give numbers in, as recorded."""

from __future__ import annotations

import json
import re
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobmeter.contract import Reading, SourceAbsent, SourceUnreadable
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.observe.counters.events import EVENTS, Count
from jobmeter.observe.groups.text import devices, flat, number
from jobmeter.observe.host import Host, SystemClock
from jobmeter.observe.kernel import infiniband, ipmi, lustre, nvidia, perf, rapl, thermal
from jobmeter.observe.kernel.nvidia import Library, NvidiaSource
from jobmeter.observe.latest import Latest
from jobmeter.observe.mapping import write_mapping
from jobmeter.observe.rising import Rising
from jobmeter.observe.tasks.layout import FIELDS, NotUnderstood, layout
from jobmeter.observe.tasks.netlink import Stats, expanded
from tests.observe.machine_tree import host_of, laid_out
from tests.process import PATIENCE_SECONDS

CASES = Path(__file__).parents[1] / "cases"
JOBS = [RunningJob(JobIdentity("oar", "", "7"), {}, 1)]


def _eventually(read: Callable[[], list[Any]]) -> list[Any]:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if found := read():
            return found
        time.sleep(0.01)
    raise AssertionError("nothing came")


@pytest.mark.parametrize(
    "case", [path.parent for path in sorted((CASES / "ipmi").glob("*/output.txt"))], ids=lambda p: p.name
)
def test_the_power_is_found_in_what_a_tool_prints(case: Path) -> None:
    assert ipmi.parse((case / "output.txt").read_text()) == json.loads((case / "expected.json").read_text())


@pytest.mark.parametrize("case", sorted((CASES / "taskstats").iterdir()), ids=lambda p: p.name)
def test_a_recorded_message_of_taskstats_is_read(case: Path) -> None:
    message = bytes.fromhex((case / "message.hex").read_text())
    stats = Stats()
    found = stats.found(message)
    assert found is not None
    expected = json.loads((case / "expected.json").read_text())
    assert list(found.who(message, stats.at)) == expected["who"]
    assert list(found.read(message, stats.at)) == expected["row"]


def test_version_15_of_taskstats_has_the_longest_and_shortest_delays_in_the_middle() -> None:
    plain, odd = layout(14, 432), layout(15, 560)
    data = bytearray(560)
    offsets = [16, 24, 48, 56, 80, 88, 112, 120]
    for place, offset in enumerate(offsets):
        struct.pack_into("<Q", data, offset, 100 + place)
    struct.pack_into("<I", data, 136 + 48, 1_700_000_000)
    struct.pack_into("<II", data, 128 + 48, 42, 1)
    struct.pack_into("<QQ", data, 312 + 48, 777, 778)
    row = dict(zip(FIELDS, odd.read(bytes(data), 0), strict=True))
    assert [row[name] for name in FIELDS[:8]] == list(range(100, 108))
    assert (row["ac_btime"], row["freepages_count"], row["freepages_delay_total"]) == (1_700_000_000, 777, 778)
    assert odd.who(bytes(data), 0)[:2] == (42, 1)
    assert plain.row.size == layout(16, 560).row.size


def test_a_structure_that_is_too_old_is_refused_with_its_version() -> None:
    with pytest.raises(NotUnderstood, match="version 3 with 272 bytes"):
        layout(3, 272)


def test_junk_from_the_kernel_holds_no_statistics() -> None:
    for junk in (b"", b"\0" * 20, b"\xff" * 600, bytes(range(256)) * 3):
        assert Stats().found(junk) is None


def test_processors_are_counted_from_ranges() -> None:
    assert expanded("0-3,8,10-11\n") == [0, 1, 2, 3, 8, 10, 11]


def test_the_mapping_files_are_colmets(tmp_path: Path) -> None:
    expected = (CASES / "perf" / "colmets-mapping" / "expected.csv").read_text().splitlines()
    assert perf.mapping(("instructions", "cache_misses", "page_faults")) == expected
    zones = ["package-0", "package-0/core", "package-0/dram", "package-1", "package-1/dram"]
    lines = rapl.mapping(zones)
    assert len(lines) == 24
    assert lines[0] == "counter_1,energy_microjoule,package-0,zone_package"
    assert lines[1] == "counter_2,max_energy_range_microjoule,package-0,zone_package"
    assert lines[4] == "counter_5,energy_microjoule,package-0,zone_dram"
    assert lines[8] == "counter_9,counter_not_supported_by_hardware,,"
    assert lines[12:14] == ["counter_13,no_counter,,", "counter_14,no_counter,,"]
    assert thermal.mapping(["acpitz_0", "x86_pkg_temp_1"])[:3] == [
        "counter_1, acpitz_0",
        "counter_2, x86_pkg_temp_1",
        "counter_3, no counter ",
    ]
    write_mapping(Host(Path("/"), SystemClock(), {}), str(tmp_path), "RAPL", lines)
    file = next(tmp_path.iterdir())
    assert re.fullmatch(r"RAPL_mapping\.\d+\.\d+\.csv", file.name)
    assert file.read_text().count("\n") == 24


def test_a_meter_that_wraps_only_grows(tmp_path: Path) -> None:
    host = host_of(CASES / "rapl" / "two-sockets-with-duplicates", tmp_path)
    source = rapl.open_source(rapl.Settings(), host)
    file = tmp_path / "sys/class/powercap/intel-rapl:0:0/energy_uj"

    def energy(raw: int) -> Any:
        file.write_text(f"{raw}\n")
        return {sample.instance: sample.values[0] for sample in source.read(0, [])}["package-0/core"]

    assert energy(65712999000) == 65712999000
    assert energy(387) == 65712999613 + 387
    assert energy(1000) == 65712999613 + 1000
    source.close()


def test_counters_that_are_set_back_go_on() -> None:
    rising = Rising()
    assert rising.total("a", (5, 7)) == (5, 7)
    assert rising.total("a", (1, 9)) == (6, 9)
    assert rising.total("a", (2, 10)) == (7, 10)
    assert rising.total("b", (1, 1)) == (1, 1)


def test_lustre_of_a_broken_form_is_told(tmp_path: Path) -> None:
    host = laid_out("## /proc/fs/lustre/llite/a-1/stats\nread_bytes many\n", tmp_path)
    with pytest.raises(SourceUnreadable, match="is not understood"):
        list(lustre.open_source(lustre.Settings(), host).read(0, []))


def test_perfquery_counts_in_words_of_four_or_eight_bytes() -> None:
    text = (
        "# Port extended counters: Lid 1 port 1\nPortXmitData:....................1000\n"
        "PortRcvData:.....................10\nPortXmitPkts:....................3\nPortRcvPkts:.....................4\n"
    )
    assert infiniband.parse(text, 4)["port_xmit_data"] == 4000
    assert infiniband.parse(text, 8)["port_rcv_data"] == 80
    assert infiniband.parse(text, 8)["port_rcv_packets"] == 4


def test_perfquery_is_asked_where_no_port_has_files(tmp_path: Path) -> None:
    tool = tmp_path / "perfquery"
    tool.write_text("#!/bin/sh\n[ \"$1\" = -x ] && echo 'PortXmitData:.....25'\n")
    tool.chmod(0o755)
    host = Host(tmp_path / "machine", SystemClock(), {}, "n1")
    host.path(str(tool.parent)).mkdir(parents=True)
    host.path(str(tool)).symlink_to(tool)
    with pytest.raises(SourceAbsent, match="no device"):
        infiniband.open_source(infiniband.Settings(perfquery=str(tool)), host)
    host.path("/sys/class/infiniband/hfi1_0").mkdir(parents=True)
    source = infiniband.open_source(infiniband.Settings(perfquery=str(tool), every_seconds=0.05), host)
    sample = _eventually(lambda: list(source.read(0, JOBS)))[0]
    source.close()
    assert (sample.metrics, sample.values) == (("infiniband_port_xmit_data",), (100,))
    assert sample.involved == (JOBS[0].identity,)


def _tool(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_tool_never_blocks_the_reading_and_one_that_hangs_is_cut_off(tmp_path: Path) -> None:
    host = Host(Path("/"), SystemClock(), {}, "n1")
    slow = _tool(tmp_path / "slow", "sleep 60 & sleep 60")
    source = ipmi.open_source(ipmi.Settings(command=(slow,), timeout_seconds=60, every_seconds=0.05), host)
    started = time.monotonic()
    assert list(source.read(0, [])) == []
    assert time.monotonic() - started < 30
    source.close()
    source = ipmi.open_source(ipmi.Settings(command=(slow,), timeout_seconds=0.3, every_seconds=0.05), host)
    with pytest.raises(SourceUnreadable, match="had not ended in time"):
        _eventually(lambda: list(source.read(0, [])))
    source.close()


def test_a_reading_of_a_tool_has_its_own_time_and_comes_once(tmp_path: Path) -> None:
    host = Host(Path("/"), SystemClock(), {}, "n1")
    tool = _tool(tmp_path / "tool", "echo 'power : 312 W'")
    source = ipmi.open_source(ipmi.Settings(command=(tool,), every_seconds=60), host)
    before = time.time_ns()
    sample = _eventually(lambda: list(source.read(0, [])))[0]
    assert sample.values == (312,)
    assert before - 10**9 < sample.time_ns <= time.time_ns()
    assert list(source.read(0, [])) == []
    assert list(source.read(0, JOBS, Reading.SOME)) == []
    source.close()


def test_a_missing_tool_is_told_and_a_node_without_controller_is_not(tmp_path: Path) -> None:
    host = Host(Path("/"), SystemClock(), {}, "n1")
    source = ipmi.open_source(ipmi.Settings(command=("/nowhere/ipmi",), every_seconds=60), host)
    with pytest.raises(SourceUnreadable, match="/nowhere/ipmi cannot be run"):
        _eventually(lambda: list(source.read(0, [])))
    source.close()
    with pytest.raises(SourceAbsent):
        ipmi.open_source(ipmi.Settings(), laid_out("## /etc/hostname\nn1\n", tmp_path))


def test_the_latest_value_recovers_after_a_fault() -> None:
    faults = [SourceUnreadable("not now")]

    def get(_: threading.Event) -> int:
        if faults:
            raise faults.pop()
        return 7

    latest = Latest("test", get, 0.02)
    until = time.monotonic() + PATIENCE_SECONDS
    found = None
    while found is None and time.monotonic() < until:
        try:
            found = latest.take()
        except SourceUnreadable:
            time.sleep(0.005)
    latest.close()
    assert found is not None
    assert found[0] == 7


class _Nvml:
    """Stands for NVIDIA's library: recorded answers by its own names."""

    NVML_TEMPERATURE_GPU = 0
    NVMLError = type("NVMLError", (Exception,), {})
    NVMLError_NotSupported = type("NVMLError_NotSupported", (NVMLError,), {})
    NVMLError_NoPermission = type("NVMLError_NoPermission", (NVMLError,), {})
    NVMLError_Unknown = type("NVMLError_Unknown", (NVMLError,), {})

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        self._answers = answers
        self.nvmlInit = self.nvmlShutdown = lambda: None
        self.nvmlDeviceGetCount = lambda: len(answers)
        self.nvmlDeviceGetHandleByIndex = lambda number: answers[number]
        self.nvmlDeviceGetUUID = lambda handle: handle["uuid"]
        self.nvmlDeviceGetPowerUsage = lambda handle: self._of(handle, "power")
        self.nvmlDeviceGetTotalEnergyConsumption = lambda handle: self._of(handle, "energy")
        self.nvmlDeviceGetTemperature = lambda handle, _: self._of(handle, "temperature")

    def _of(self, handle: dict[str, Any], key: str) -> Any:
        if handle[key] is None:
            raise self.NVMLError_NotSupported(key)
        return handle[key]

    def nvmlDeviceGetUtilizationRates(self, handle: dict[str, Any]) -> Any:  # noqa: N802
        gpu, memory = self._of(handle, "utilization")
        return SimpleNamespace(gpu=gpu, memory=memory)

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any]) -> Any:  # noqa: N802
        total, free, used = handle["memory"]
        return SimpleNamespace(total=total, free=free, used=used)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: dict[str, Any]) -> Any:  # noqa: N802
        return [SimpleNamespace(pid=pid) for pid in handle["processes"]]


def test_a_job_has_the_graphics_processor_that_its_process_computes_on(tmp_path: Path) -> None:
    library = _Nvml(json.loads((CASES / "nvidia" / "two-processors" / "answers.json").read_text()))
    host = laid_out("## /etc/hostname\nn1\n", tmp_path)
    jobs = [
        RunningJob(JobIdentity("oar", "", "1"), {}, 1, processes=(4242,)),
        RunningJob(JobIdentity("oar", "", "2"), {}, 1, processes=(99,)),
    ]
    source = NvidiaSource(nvidia.Settings(every_seconds=60), host, library)
    samples = _eventually(lambda: list(source.read(0, jobs)))
    source.close()
    assert [(sample.job and sample.job.job, sample.instance) for sample in samples] == [
        (None, "GPU-aaaa"),
        (None, "GPU-bbbb"),
        ("1", "GPU-aaaa"),
    ]
    assert samples[0].values == (71234, 123456789, 41, 97, 12, 85899345920, 64424509440, 21474836480)
    assert samples[1].values[:5] == (None, None, 35, None, None)


def test_a_library_that_fails_is_told_and_opened_anew() -> None:
    library = _Nvml([])
    opened = []
    library.nvmlInit = lambda: opened.append(1)

    def broken() -> int:
        raise library.NVMLError("driver gone")

    library.nvmlDeviceGetCount = broken
    asked = Library(library)
    for _ in range(2):
        with pytest.raises(SourceUnreadable, match="driver gone"):
            asked.devices()
    assert len(opened) == 2


def test_a_processor_that_fell_off_the_bus_takes_no_other_along(caplog: pytest.LogCaptureFixture) -> None:
    answers = json.loads((CASES / "nvidia" / "two-processors" / "answers.json").read_text())
    library = _Nvml(answers)

    def handle(number: int) -> Any:
        if number == 0:
            raise library.NVMLError("GPU is lost")
        return answers[number]

    library.nvmlDeviceGetHandleByIndex = handle
    asked = Library(library)
    for _ in range(2):
        assert [device.instance for device in asked.devices()] == ["GPU-bbbb"]
    assert [record.message.split()[0] for record in caplog.records] == ["nvidia.no_answer"]


def test_colmets_events_are_all_known_and_counts_are_scaled_by_the_time_they_ran() -> None:
    assert len(EVENTS) == 28
    assert Count(100, 1000, 500).scaled == 200
    assert Count(100, 1000, 1000).scaled == 100
    assert Count(0, 1000, 0).scaled == 0


def test_the_files_of_groups_are_read_whatever_stands_between_their_lines() -> None:
    names, parse = flat({b"anon": "anon", b"file": "file"})(b"anon 5\nfile 7\n")
    assert (names, parse(b"anon 5\nfile 7\n")) == (("anon", "file"), [5, 7])
    assert parse(b"new 1\nanon 6\nfile 8\n") == [6, 8]
    assert parse(b"new 1\nfile 8\n") == [None, 8]
    assert number("a")(b"")[1](b"max\n") == [None]
    names, parse = devices({b"rbytes": "r"})(b"")
    assert parse(b"8:0 rbytes=5 wbytes=1\n8:16 rbytes=6\n") == [11]
