"""Network and mounts of a host: what counts, and what happens when counters or servers do odd things."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.facility.host import Settings, open_section
from jobmeter.observe.host import this_host
from jobmeter.observe.machine import mounts, network
from tests.observe.facility_host import Machine
from tests.process import PATIENCE_SECONDS

HEAD = "Inter-| Receive | Transmit\n face |bytes ...\n"


def net(**counters: tuple[int, int]) -> str:
    lines = (f"{name}: {received} 0 0 0 0 0 0 0 {sent} 0 0 0 0 0 0 0" for name, (received, sent) in counters.items())
    return HEAD + "\n".join(lines) + "\n"


def machine(folder: Path, *, boot: str = "b", uptime: float = 100, **counters: tuple[int, int]) -> Machine:
    made = Machine(folder)
    made.file("/proc/sys/kernel/hostname", "login01\n")
    made.file("/proc/sys/kernel/random/boot_id", f"{boot}\n")
    made.file("/proc/uptime", f"{uptime} 1\n")
    made.file("/proc/loadavg", "0.5 0 0 1/1 1\n")
    made.file("/proc/meminfo", "MemTotal: 10 kB\nMemAvailable: 4 kB\n")
    made.file("/proc/net/dev", net(**counters))
    return made


def traffic(before: Machine, after: Machine) -> network.Traffic | None:
    return network.between(network.sample(before.host), network.sample(after.host))


def test_traffic_is_what_the_own_interfaces_counted_since(tmp_path: Path) -> None:
    before = machine(tmp_path / "a", uptime=100, lo=(5, 5), eth0=(1000, 500))
    after = machine(tmp_path / "b", uptime=400.064, lo=(9999, 9999), eth0=(3000, 600), eth1=(7, 7))
    assert traffic(before, after) == network.Traffic(sent=100, received=2000, interval=300.064)


def test_bridges_bonds_tunnels_and_ports_of_containers_do_not_count_twice(tmp_path: Path) -> None:
    names = ("lo", "eth0", "br0", "bond0", "vlan5", "veth9", "tun0", "wlan0")
    made = machine(tmp_path)
    made.file("/proc/net/dev", net(**dict.fromkeys(names, (1, 1))))
    for path in ("eth0/device", "eth0/brport", "br0/bridge", "bond0/bonding", "vlan5/lower_eth0", "veth9/brport",
                 "tun0/tun_flags", "wlan0/device", "lo/x"):  # fmt: skip
        (made.root / "sys/class/net" / path).mkdir(parents=True)
    assert set(network.sample(made.host).interfaces) == {"eth0", "wlan0"}


def test_a_reboot_begins_anew(tmp_path: Path) -> None:
    before = machine(tmp_path / "a", boot="one", uptime=5000, eth0=(1000, 500))
    after = machine(tmp_path / "b", boot="two", uptime=9000, eth0=(2000, 900))
    assert traffic(before, after) is None


def test_a_counter_of_32_bits_that_wraps_goes_on(tmp_path: Path) -> None:
    before = machine(tmp_path / "a", uptime=1, eth0=(2**32 - 100, 10))
    after = machine(tmp_path / "b", uptime=2, eth0=(50, 20))
    assert traffic(before, after) == network.Traffic(sent=10, received=150, interval=1)


def test_a_counter_that_was_set_back_is_never_negative(tmp_path: Path) -> None:
    before = machine(tmp_path / "a", uptime=1, eth0=(5000, 5000))
    after = machine(tmp_path / "b", uptime=2, eth0=(40, 30))
    assert traffic(before, after) == network.Traffic(sent=30, received=40, interval=1)


@pytest.mark.parametrize("text", [None, "", "[]", '{"sent": 1}', "\x00"])
def test_a_place_that_cannot_be_read_is_as_none(text: str | None) -> None:
    assert network.kept(text) is None


def test_a_mount_that_does_not_answer_is_left_after_its_time() -> None:
    done = threading.Event()

    def hangs(path: Path) -> os.statvfs_result:
        done.wait(PATIENCE_SECONDS)
        return os.statvfs(path)

    began = time.monotonic()
    with pytest.raises(SourceUnreadable, match="no answer"):
        mounts.space(Path("/"), 0.2, hangs)
    assert time.monotonic() - began < PATIENCE_SECONDS / 2
    done.set()


def test_mounts_are_read_with_their_blanks_and_all_means_disks() -> None:
    found = mounts.parse(
        "proc /proc proc rw 0 0\n/dev/vda1 / ext4 rw 0 0\nnfs.host:/ex\\040port /my\\040home nfs4 rw 0 0\n"
        "/dev/vda1 /again ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n"
    )
    assert found["/my home"].source == "nfs.host:/ex port"
    assert mounts.real(found) == ["/", "/my home"]


def test_a_mount_that_is_absent_leaves_the_others(tmp_path: Path) -> None:
    made = machine(tmp_path, eth0=(1, 1))
    (made.root / "scratch").mkdir()
    made.file("/proc/mounts", "/dev/mapper/vg-scratch /scratch ext4 rw 0 0\n")
    batches = list(open_section(Settings(as_it_was=True), made.host).read(None))
    documents = [document for batch in batches for document in batch.documents]
    assert [document.kind for document in documents] == ["CPU", "MEM", "NETWORK", "DISK"]
    disk = documents[-1].body
    assert (disk["device"], disk["mount"]) == ("mapper/vg-scratch", "/scratch")
    assert not [reason for batch in batches for reason in batch.unreadable]


def test_this_machine_agrees_with_psutil_and_df() -> None:
    import shutil  # noqa: PLC0415

    import psutil  # noqa: PLC0415

    documents = {
        (document.kind, document.body.get("mount")): document.body
        for batch in open_section(Settings(mounts=("/",)), this_host()).read(None)
        for document in batch.documents
    }
    memory = documents["MEM", None]
    assert memory["total"] == psutil.virtual_memory().total
    available = memory["available"]
    assert isinstance(available, int)
    assert abs(available - psutil.virtual_memory().available) < 2**30
    disk, own = documents["DISK", "/"], shutil.disk_usage("/")
    assert disk["total"] == own.total
    used = disk["used"]
    assert isinstance(used, int)
    assert abs(used - own.used) < 2**30
    load = documents["CPU", None]["load"]
    assert isinstance(load, float)
