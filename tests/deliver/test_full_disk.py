"""No room on the disk: a typed fault, nothing half-written, and all goes on once there is room again."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobmeter.deliver.fault import SpoolFull, SpoolUnavailable
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.outcome import Accepted
from tests.deliver.material import SetClock, batch


@contextmanager
def files_at_most(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond `size_bytes`; writing more fails, as Python ignores the signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(spool: Spool, number: int) -> int:
    """Absorb batches from `number` on until there is no room; the number of the batch that found none."""
    while True:
        names = (f"{number}-{place}" for place in range(40))
        try:
            spool.absorb("s", batch(*names, cursor=str(number), refused=[f"{number}"]))
        except SpoolUnavailable:
            return number
        number += 1
        assert number < 1000


def deliver_all(spool: Spool) -> int:
    number = 0
    while entries := spool.due(50):
        spool.settle([(entry, Accepted()) for entry in entries])
        number += len(entries)
    return number


def require_whole(spool: Spool, batches: int) -> None:
    status = spool.status()
    assert status.cursors == {"s": str(batches - 1)}
    assert (status.entries, status.letters, status.counters["collected"]) == (40 * batches, batches, 40 * batches)
    spool.verify()


def test_a_file_that_may_not_grow_stops_collecting_only(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool.db", SpoolSettings(reserve_bytes=0), SetClock()) as spool:
        with files_at_most(600_000):
            refused = fill(spool, 0)
            assert refused > 2
            require_whole(spool, refused)
            assert fill(spool, refused) == refused
        assert fill_one(spool, refused)
        require_whole(spool, refused + 1)
        assert deliver_all(spool) == 40 * (refused + 1)
        spool.verify()


def fill_one(spool: Spool, number: int) -> bool:
    names = (f"{number}-{place}" for place in range(40))
    return spool.absorb("s", batch(*names, cursor=str(number), refused=[f"{number}"])).queued == 40


def test_a_spool_that_was_closed_on_a_full_disk_opens_whole(tmp_path: Path) -> None:
    with files_at_most(600_000):
        with Spool(tmp_path / "spool.db", SpoolSettings(reserve_bytes=0), SetClock()) as spool:
            refused = fill(spool, 0)
        with Spool(tmp_path / "spool.db", SpoolSettings(reserve_bytes=0), SetClock()) as spool:
            require_whole(spool, refused)
    with Spool(tmp_path / "spool.db", SpoolSettings(reserve_bytes=0), SetClock()) as spool:
        require_whole(spool, refused)
        assert deliver_all(spool) == 40 * refused


def test_a_full_disk_is_told_as_full_and_recovers(small_disk: Path) -> None:
    with Spool(small_disk / "spool.db", SpoolSettings(reserve_bytes=0), SetClock()) as spool:
        refused = fill(spool, 0)
        with pytest.raises(SpoolFull, match="no room on the disk"):
            fill_one(spool, refused)
        require_whole(spool, refused)
        subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
        assert fill_one(spool, refused)
        require_whole(spool, refused + 1)
        assert deliver_all(spool) == 40 * (refused + 1)


def test_the_reserve_lets_delivery_go_on_when_collecting_must_stop(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    with Spool(small_disk / "spool.db", SpoolSettings(reserve_bytes=10 * 2**20), SetClock()) as spool:
        refused = fill(spool, 0)
        assert refused > 0
        assert deliver_all(spool) == 40 * refused


def test_a_spool_cannot_be_made_on_a_full_disk(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * 590 * 1024)
    with pytest.raises(SpoolUnavailable):
        Spool(small_disk / "spool.db", SpoolSettings(), SetClock())
    (small_disk / "ballast").unlink()
    Spool(small_disk / "spool.db", SpoolSettings(), SetClock()).close()
