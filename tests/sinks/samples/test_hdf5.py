"""Files in Colmet's layout, read back by h5py and by PyTables, as Colmet's own users do."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from jobmeter.model.outcome import Keep
from jobmeter.model.sample import SampleBatch
from jobmeter.sinks.hdf5.superblock import lookup3
from jobmeter.sinks.hdf5.tables import Compression
from jobmeter.sinks.hdf5.writer import Hdf5Writer
from jobmeter.sinks.samples.hdf5 import Settings, open_sink
from jobmeter.wire.colmet import FORMATS, columns, types
from tests.colmet.real import tables
from tests.deliver.test_full_disk import files_at_most
from tests.process import PATIENCE_SECONDS, started
from tests.sinks.samples.given import START, all_accepted, colmet_batch, own_batch


def settings(path: Path, **given: Any) -> Settings:
    return Settings(**{"path": str(path), "compression": "none", **given})


def stamps(file: Path, table: str = "job_4711/taskstats_default") -> list[int]:
    with h5py.File(file, "r") as opened:
        return [int(stamp) for stamp in opened[table]["timestamp"]]


def test_every_column_of_every_class_can_be_read_by_pytables(tmp_path: Path) -> None:
    file = tmp_path / "data.hdf5"
    sink = open_sink(settings(file))
    assert all_accepted(sink.write(colmet_batch()))
    sink.close()
    found = tables(file)
    for number, kind in enumerate(sorted(FORMATS)):
        node_wide = "involved_jobs" in columns(kind) or kind.startswith("temperature")
        job = 0 if node_wide else 4711
        table = found[f"/job_{job}/{kind}"]
        assert table["columns"] == sorted(table["columns"])
        assert (table["title"], table["version"]) == (f"Metrics for the Job {job}", 2)
        (row,) = table["rows"]
        assert (row["hostname"], row["job_id"], row["timestamp"], row["metric_backend"]) == ("n1", job, START, kind)
        for place, (name, form) in enumerate(zip(columns(kind), types(kind), strict=True)):
            if form == "s":
                assert row.get(name, "[1000, 7]") == "[1000, 7]"
            else:
                assert row[name] == (place + 0.5 if form == "f" else 1000 * number + place)
    assert found["/job_0/procstats_default"]["rows"][0]["meminfo_hardwarecorrupted"] == -1


def test_what_colmet_has_no_class_for_gets_a_table_of_its_source(tmp_path: Path) -> None:
    file = tmp_path / "data.hdf5"
    sink = open_sink(settings(file))
    assert all_accepted(sink.write(own_batch(value=5)))
    assert all_accepted(sink.write(own_batch(value=None)))
    sink.close()
    found = tables(file)
    first, second = found["/job_4711/cgroup"]["rows"]
    assert (first["cgroup_cpu_usage"], first["job"], first["time_ns"]) == (
        5.0,
        "slurm/alpha:4711",
        START * 10**9 + 250_000_000,
    )
    assert np.isnan(second["cgroup_cpu_usage"])
    assert found["/job_0/ipmipowerstats_default"]["rows"][0]["average_power_consumption"] == 312


def test_rows_of_many_nodes_in_one_table_keep_their_order_and_their_texts(tmp_path: Path) -> None:
    file = tmp_path / "data.hdf5"
    sink = open_sink(settings(file))
    wanted: list[tuple[bytes, int]] = []
    for turn in range(3):
        for node in (*range(40), 0, 39, 0):
            wanted.append((f"n{node:04}".encode(), START + len(wanted)))
            sink.write(colmet_batch(wanted[-1][1], host=f"n{node:04}", kinds=("ipmipowerstats_default",)))
        if turn != 1:
            sink.flush()
    sink.close()
    with h5py.File(file) as opened:
        rows = opened["job_0/ipmipowerstats_default"][:]
    assert [(row["hostname"], row["timestamp"]) for row in rows] == wanted
    assert {row["involved_jobs"] for row in rows} == {b"[1000, 7]"}


def test_more_rows_than_are_put_in_order_at_once_are_all_there(tmp_path: Path) -> None:
    file = tmp_path / "data.hdf5"
    sink = open_sink(settings(file, compression="zlib"))
    for at in range(400):  # rows of 9 kB: several mebibytes
        sink.write(colmet_batch(START + at, host=f"n{at % 7}", kinds=("RAPLstats_default",)))
    sink.close()
    assert stamps(file, "job_0/RAPLstats_default") == list(range(START, START + 400))


def test_two_kinds_of_rows_of_one_source_get_two_tables(tmp_path: Path) -> None:
    file = tmp_path / "data.hdf5"
    for _ in range(2):
        sink = open_sink(settings(file))
        for metrics in (("a",), ("a", "b"), ("b",)):
            (sample, _) = own_batch().samples
            values = dict.fromkeys(metrics, 1)
            fields = (sample.node, sample.job, sample.time_ns, tuple(values), tuple(values.values()))
            assert all_accepted(sink.write(SampleBatch("n1", (sample.__class__("new", *fields),))))
        sink.close()
    found = tables(file)
    rows = {name: table["rows"] for name, table in found.items()}
    assert sum(len(group) for group in rows.values()) == 6
    assert sum("b" in row and row["b"] == 1.0 for group in rows.values() for row in group) == 4


@pytest.mark.parametrize(("name", "level"), [("zlib", 1), ("zlib", 9), ("lzf", 1), ("none", 5), ("zlib", 0)])
def test_compressed_rows_are_the_same_rows(tmp_path: Path, name: str, level: int) -> None:
    file = tmp_path / "data.hdf5"
    sink = open_sink(settings(file, compression=name, compression_level=level))
    for at in range(50):
        sink.write(colmet_batch(START + at))
        if at % 7 in (0, 2, 3):
            sink.flush()
    sink.close()
    for table in ("job_4711/taskstats_default", "job_0/RAPLstats_default"):
        assert stamps(file, table) == list(range(START, START + 50))
    with h5py.File(file) as opened:
        used = opened["job_4711/taskstats_default"].compression
    assert used == ({"zlib": "gzip", "lzf": "lzf", "none": None}[name] if level else None)
    if name != "lzf":
        assert len(tables(file)["/job_0/RAPLstats_default"]["rows"]) == 50


def test_a_compression_that_is_not_there_is_refused_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compression lzo is not there"):
        open_sink(settings(tmp_path / "data.hdf5", compression="lzo"))


def test_a_prefix_makes_a_new_file_at_every_reopening(tmp_path: Path) -> None:
    sink = open_sink(settings(tmp_path / "deep" / "data.v1"))
    for at in range(3):
        sink.write(colmet_batch(START + at))
        sink.reopen()
    sink.close()
    files = sorted((tmp_path / "deep").iterdir())
    assert [stamps(file) for file in files] == [[START], [START + 1], [START + 2]]
    stem, epoch, suffix = files[0].name.rsplit(".", 2)
    assert (stem, suffix) == ("data.v1", "hdf5")
    assert abs(int(epoch) - time.time()) < 600


def test_a_fixed_file_is_gone_on_in(tmp_path: Path) -> None:
    file = tmp_path / "data.hdf5"
    for at in range(3):
        sink = open_sink(settings(file))
        sink.write(colmet_batch(START + at))
        sink.reopen()
        sink.close()
    assert stamps(file) == [START, START + 1, START + 2]


HOLDER = "import h5py, sys, time; file = h5py.File(sys.argv[1], 'r'); print('open', flush=True); time.sleep(60)"


def test_between_writes_anybody_can_read_all_that_was_written(tmp_path: Path) -> None:
    file = tmp_path / "data.hdf5"
    sink = open_sink(settings(file))
    for at in range(4):
        sink.write(colmet_batch(START + at))
        sink.flush()
        assert len(tables(file)["/job_4711/taskstats_default"]["rows"]) == at + 1
        with h5py.File(file, "r", swmr=True) as reader:
            assert int(reader["job_4711/taskstats_default"][-1]["timestamp"]) == START + at
    sink.close()


def test_a_reader_that_holds_the_file_delays_rows_and_loses_none(tmp_path: Path) -> None:
    file = tmp_path / "data.hdf5"
    sink = open_sink(settings(file))
    sink.write(colmet_batch(START))
    sink.flush()
    with started(HOLDER, str(file)) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        sink.write(colmet_batch(START + 1))
        with pytest.raises(OSError, match="lock"):
            sink.flush()
        holder.kill()
    sink.flush()
    sink.close()
    assert stamps(file) == [START, START + 1]


FOLLOWER = """
import sys, time
import h5py
with h5py.File(sys.argv[1], "r", swmr=True, locking=False) as file:
    table = file["job_1/taskstats_default"]
    print("open", flush=True)
    seen = []
    while len(seen) < int(sys.argv[2]):
        table.refresh()
        if len(table) > len(seen):
            seen += [int(stamp) for stamp in table["timestamp"][len(seen) :]]
            print(len(seen), seen[-1], "job_2" in file, flush=True)
        time.sleep(0.001)
    print(seen == list(range(seen[0], seen[0] + len(seen))), flush=True)
"""


@pytest.mark.parametrize("name", ["none", "zlib", "lzf"])
def test_a_reader_that_keeps_the_file_open_sees_new_rows_while_tables_come_and_grow(tmp_path: Path, name: str) -> None:
    file = tmp_path / "data.hdf5"
    sink = open_sink(settings(file, compression=name, compression_level=1))
    kinds = ("taskstats_default",)
    sink.write(colmet_batch(START, job=1, kinds=kinds))
    sink.flush()
    with started(FOLLOWER, str(file), "121") as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "open\n"
        told = []
        for at in range(1, 121):
            sink.write(colmet_batch(START + at, job=1, kinds=kinds))
            if at % 3 == 0:
                for other in range(5):
                    sink.write(colmet_batch(START + at, job=2 + 5 * at + other, kinds=kinds))
                sink.flush()
            if at in (3, 6, 9, 12):
                told.append(follower.stdout.readline())
        sink.close()
        told += follower.communicate(timeout=PATIENCE_SECONDS)[0].splitlines()
    assert told[-1] == "True"
    assert told[-2].startswith(f"121 {START + 120}")
    with h5py.File(file, "r", swmr=True, locking=False) as again:
        assert len(again) == 1 + 5 * 40, "new jobs are there for who opens the file again"


def test_a_file_of_the_older_format_is_gone_on_in_and_read_between_writes(tmp_path: Path) -> None:
    file = tmp_path / "data.hdf5"
    h5py.File(file, "w", libver=("earliest", "v108")).close()
    sink = open_sink(settings(file))
    for at in range(2):
        sink.write(colmet_batch(START + at))
        sink.flush()
        assert len(stamps(file)) == at + 1
    sink.close()


def test_a_full_disk_delays_rows_and_leaves_the_file_whole(tmp_path: Path) -> None:
    file = tmp_path / "data.hdf5"
    sink = open_sink(settings(file))
    sink.write(colmet_batch(START))
    sink.flush()
    size = file.stat().st_size
    with files_at_most(size + 200_000):
        for at in range(1, 200):
            sink.write(colmet_batch(START + at))
        with pytest.raises(OSError, match=r"large|space"):
            sink.flush()
        assert stamps(file) == [START]
    sink.flush()
    sink.close()
    assert stamps(file) == list(range(START, START + 200))


def test_what_cannot_be_written_is_kept_when_much_is_held(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    sink = Hdf5Writer(str(folder / "data.hdf5"), Compression(), 5.0, held_max_bytes=2**20)
    folder.write_text("is no folder")
    batch = SampleBatch("n1", colmet_batch(kinds=("RAPLstats_default",)).samples * 500)
    spread = [
        SampleBatch(
            "n1", tuple(_at(sample, START + 500 * turn + number) for number, sample in enumerate(batch.samples))
        )
        for turn in range(12)
    ]
    outcomes = [sink.write(each)[0] for each in spread]
    assert isinstance(outcomes[-1], Keep)
    assert not isinstance(outcomes[0], Keep)
    folder.unlink()
    sink.close()


def _at(sample: Any, stamp: int) -> Any:
    return sample.__class__(sample.source, sample.node, sample.job, stamp * 10**9, sample.metrics, sample.values)


KILLED = """
import sys
from jobmeter.sinks.hdf5.tables import Compression
from jobmeter.sinks.hdf5.writer import Hdf5Writer
from jobmeter.sinks.samples.hdf5 import Settings, open_sink
from tests.sinks.samples.given import START, colmet_batch
sink = open_sink(Settings(path=sys.argv[1], compression="none"))
for at in range(100000):
    sink.write(colmet_batch(START + at, job=4711 + at % 7))
    sink.flush()
    print(at, flush=True)
"""


def test_after_a_kill_the_file_goes_on_with_all_that_was_flushed(tmp_path: Path) -> None:
    file = tmp_path / "data.hdf5"
    for turn in range(4):
        process = started(KILLED, str(file))
        assert process.stdout is not None
        last = [process.stdout.readline() for _ in range(5 + 3 * turn)][-1]
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
        process.stdout.close()
        flushed = int((last + rest).split()[-1])
        sink = open_sink(settings(file))
        sink.write(colmet_batch(1, job=1))
        sink.flush()
        sink.close()
        with h5py.File(file) as opened:
            found = {
                int(stamp)
                for name in opened
                for stamp in opened[name].get("taskstats_default", np.zeros(0, [("timestamp", int)]))["timestamp"]
            }
        whole = set(range(START, START + flushed + 1))
        damaged = list(tmp_path.glob("*.damaged-*"))
        assert whole <= found or damaged, (turn, sorted(whole - found)[:3])
        for each in (file, *damaged):
            each.unlink()


def test_the_check_sum_is_that_of_the_format() -> None:
    assert lookup3(b"Four score and seven years ago") == 0x17770551
    assert lookup3(b"") == 0xDEADBEEF


def test_memory_stays_flat_while_thousands_of_jobs_come_and_go(tmp_path: Path) -> None:
    sink = open_sink(settings(tmp_path / "data.hdf5"))

    def wave(first: int) -> int:
        for job in range(first, first + 500):
            sink.write(colmet_batch(START, job=job, kinds=("taskstats_default",)))
        sink.flush()
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    early = [wave(500 * turn + 1) for turn in range(2)][-1]
    late = [wave(500 * turn + 1) for turn in range(2, 8)][-1]
    sink.close()
    assert late - early < 15 * 2**20
    assert json.dumps(stamps(tmp_path / "data.hdf5", "job_3999/taskstats_default")) == f"[{START}]"
