"""kill -9 at any step, logs cut or broken at any byte, full disks: what was accepted is there, and nothing else."""

from __future__ import annotations

import logging
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobmeter.model.outcome import Accepted, Keep
from jobmeter.model.series import SampleQuestion
from jobmeter.store.samples.folder import listing
from jobmeter.store.samples.log import MAGIC
from jobmeter.store.samples.reader import SampleStoreReader
from tests.store_samples.given import asked, batch, column, opened, sample, seconds
from tests.store_samples.killed import BATCHES

ROOT = Path(__file__).parents[2]


def test_kill_9_at_any_step_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.store_samples.killed", tmp_path, "53"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}/src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50
    for accepted in sorted(tmp_path.glob("*.accepted")):
        folder = accepted.with_suffix("")
        told = [int(line) for line in accepted.read_text().split()]
        with opened(folder) as writer:
            held = [int(second) for table in asked(folder) for second in seconds(table)]
            assert held in (told, [*told, len(told)]), folder.name
            writer.write(batch(sample(BATCHES, (BATCHES, 1))))
            writer.reopen()
            writer.tidy()
        (table,) = asked(folder)
        assert seconds(table) == [*held, BATCHES]
        assert column(table, "cpu") == [*held, BATCHES]
        found = listing(folder)
        assert found.logs == []
        files = {path for path in folder.rglob("*") if path.is_file() and path.name != "writer.lock"}
        assert files == {span.path for spans in (found.raw, *found.tiers.values()) for span in spans}


def _log_of(folder: Path, count: int) -> Path:
    """A store as it lies there when its writer was killed after `count` batches."""
    with opened(folder / "live") as writer:
        for number in range(count):
            writer.write(batch(sample(number, (number, 1))))
        shutil.copytree(folder / "live", folder / "killed")
    (log,) = (folder / "killed").glob("*.jml")
    return log


def test_a_log_cut_at_any_byte_keeps_its_whole_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = _log_of(tmp_path, 4)
    whole = log.read_bytes()
    counts = []
    for size in range(len(whole) + 1):
        log.write_bytes(whole[:size])
        copy = tmp_path / f"copy{size}"
        shutil.copytree(log.parent, copy)
        caplog.clear()
        with caplog.at_level(logging.WARNING), opened(copy):
            pass
        found = [int(second) for table in asked(copy) for second in seconds(table)]
        assert found == list(range(len(found)))
        counts.append(len(found))
        assert ("samples.torn" in caplog.text) == (size not in (0, len(MAGIC)) and not _is_whole(whole, size))
        shutil.rmtree(copy)
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3, 4}


def _is_whole(log: bytes, size: int) -> bool:
    at = len(MAGIC)
    while at < size:
        at += 8 + int.from_bytes(log[at : at + 4], "little")
    return at == size


def test_a_broken_byte_in_a_segment_is_told_and_the_rest_is_answered(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        for number in range(3):
            writer.write(batch(sample(number, (number, 1))))
            writer.reopen()
    path = sorted((tmp_path / "raw").iterdir())[1]
    whole = bytearray(path.read_bytes())
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 0x55
        path.write_bytes(broken)
        reader = SampleStoreReader(tmp_path)
        found = [second for table in reader.tables(SampleQuestion()) for second in seconds(table)]
        assert found == [0, 2], place
        assert reader.state().damaged == 1
        reader.close()


def test_merging_leaves_a_broken_segment_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        for number in range(13):
            if number == 3:
                broken = max((tmp_path / "raw").iterdir())
                whole = broken.read_bytes()
                broken.write_bytes(b"x" + whole[1:30] + bytes([whole[30] ^ 1]) + whole[31:])
            writer.write(batch(sample(number, (number, 1))))
            writer.reopen()
        writer.tidy()
        assert list(writer.damaged) == [broken]
    assert broken.exists()
    (table,) = asked(tmp_path)
    assert seconds(table) == [0, 1, *range(3, 13)]


@contextmanager
def files_at_most(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_log_that_cannot_grow_keeps_the_samples_with_the_sender_and_goes_on_later(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        taken = []
        with files_at_most(2000):
            for number in range(200):
                (outcome,) = writer.write(batch(sample(number, (number, 1))))
                if isinstance(outcome, Accepted):
                    taken.append(number)
                else:
                    assert isinstance(outcome, Keep)
                    assert outcome.delay_seconds > 0
        assert 0 < len(taken) < 200
        writer.write(batch(sample(500, (500, 1), node="new")))
        assert [int(second) for table in asked(tmp_path) for second in seconds(table)] == [*taken, 500]
    assert [int(second) for table in asked(tmp_path) for second in seconds(table)] == [*taken, 500]


def test_a_segment_that_cannot_be_written_stays_in_the_logs(tmp_path: Path) -> None:
    with opened(tmp_path, head_bytes=2**20) as writer:
        chance = random.Random(1)
        rows = [sample(second, (chance.getrandbits(60), chance.random())) for second in range(20_000)]
        writer.write(batch(*rows))
        with files_at_most(50_000):
            writer.reopen()
            assert list((tmp_path / "raw").iterdir()) == []
            (outcome,) = writer.write(batch(sample(30_000)))
            assert isinstance(outcome, Keep)
            assert len(asked(tmp_path)[0].times_ns) == 20_000
    assert len(asked(tmp_path)[0].times_ns) == 20_000
    assert len(list((tmp_path / "raw").iterdir())) == 1


def test_a_disk_without_room_is_told_and_goes_on_when_there_is_some(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    try:
        with opened(folder) as writer:
            outcomes = [writer.write(batch(sample(n, (n, n * 7919 % 1009))))[0] for n in range(8000)]
            taken = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Accepted)]
            assert 100 < len(taken) < 8000
            assert isinstance(outcomes[-1], Keep)
            assert "No space" in outcomes[-1].reason
            subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)
            assert writer.write(batch(sample(9000))) == [Accepted()]
        (table,) = asked(folder)
        assert seconds(table) == [*taken, 9000]
    finally:
        subprocess.run(["umount", folder], check=True)
