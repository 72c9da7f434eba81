"""Parquet files, read back by DuckDB."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from msgspec.structs import replace

from jobmeter.model.outcome import Accepted, Keep, Rejected
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.sinks.samples.parquet import Settings, open_sink
from tests.deliver.test_full_disk import files_at_most
from tests.process import started
from tests.sinks.samples.given import JOB, START, all_accepted, colmet_batch, own_batch


def rows(folder: Path, source: str, columns: str = "*") -> list[tuple[Any, ...]]:
    pattern = folder / f"{source}.*.parquet"
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT {columns} FROM read_parquet('{pattern}', union_by_name=true) ORDER BY time_ns"
        )
        return found.fetchall()


def sample(metrics: tuple[str, ...], values: tuple[Any, ...], source: str = "new") -> SampleBatch:
    return SampleBatch("n1", (Sample(source, "n1", JOB, START * 10**9, metrics, values),))


def test_a_sample_is_a_row_with_a_column_for_each_metric(tmp_path: Path) -> None:
    sink = open_sink(Settings(str(tmp_path)))
    assert all_accepted(sink.write(own_batch(value=5)))
    assert all_accepted(sink.write(own_batch(START + 1, value=None)))
    sink.close()
    about = "epoch_ms(time), time_ns, since_ns, node, manager, cluster, job, run, instance, involved"
    at = START * 1000 + 250
    first, second = rows(tmp_path, "cgroup", f"{about}, cgroup_cpu_usage")
    assert first == (at, at * 10**6, None, "n1", "slurm", "alpha", "4711", 0, "", [], 5.0)
    assert second[-1] is None
    power = rows(tmp_path, "ipmi", f"{about}, ipmi_power")[0]
    assert power[3:] == ("n1", None, None, None, None, "psu-0", ["slurm/alpha:4711"], 312.0)


def test_a_file_tells_the_units_of_its_columns(tmp_path: Path) -> None:
    sink = open_sink(Settings(str(tmp_path)))
    sink.write(own_batch())
    sink.close()
    (file,) = tmp_path.glob("cgroup.*")
    ((about,),) = duckdb.execute(
        f"SELECT decode(value) FROM parquet_kv_metadata('{file}') WHERE key = 'metrics'"
    ).fetchall()
    assert json.loads(about) == {"cgroup_cpu_usage": {"unit": "nanoseconds", "kind": "counter", "help": "CPU time."}}


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "none"])
def test_every_class_of_colmet_is_written_whatever_the_compression(tmp_path: Path, compression: Any) -> None:
    sink = open_sink(Settings(str(tmp_path), compression=compression))
    batch = colmet_batch()
    assert all_accepted(sink.write(batch))
    sink.close()
    for source in {each.source for each in batch.samples}:
        assert rows(tmp_path, source, "node")[0] == ("n1",)


def test_only_whole_files_have_a_name_and_more_come_beside_them(tmp_path: Path) -> None:
    sink = open_sink(Settings(str(tmp_path)))
    for at in range(3):
        sink.write(own_batch(START + at))
        assert len(list(tmp_path.glob("cgroup.*.parquet"))) == at
        sink.reopen()
        assert [row[0] for row in rows(tmp_path, "cgroup", "time_ns // 1000000000")] == list(
            range(START, START + at + 1)
        )
    sink.close()
    assert all(file.suffix == ".parquet" for file in tmp_path.iterdir())


def test_much_asks_for_a_flush_and_rows_stay_few_in_memory(tmp_path: Path) -> None:
    sink = open_sink(Settings(str(tmp_path), file_max_bytes=2**16))
    assert sink.flush_seconds == 300.0  # type: ignore[attr-defined]
    for at in range(1000):
        sink.write(own_batch(START + at))
    assert sink.flush_seconds == 0.0  # type: ignore[attr-defined]
    sink.flush()
    assert sink.flush_seconds == 300.0  # type: ignore[attr-defined]
    sink.close()
    assert len(rows(tmp_path, "cgroup")) == 1000


def test_rows_of_a_file_are_by_job_and_time_and_those_of_no_job_last(tmp_path: Path) -> None:
    sink = open_sink(Settings(str(tmp_path)))
    jobs = [JOB, None, replace(JOB, job="10"), replace(JOB, run=1), replace(JOB, cluster="")]
    for at in (3, 1, 2):
        for job in jobs:
            sink.write(own_batch(START + at, job=job))
    sink.close()
    ordered = [("", "4711", 0), ("alpha", "10", 0), ("alpha", "4711", 0), ("alpha", "4711", 1), (None, None, None)]
    with duckdb.connect() as connection:
        chosen = f"SELECT cluster, job, run, time_ns // 1000000000 FROM read_parquet('{tmp_path}/cgroup.*.parquet')"
        found = connection.execute(chosen).fetchall()
    assert found == [(*job, START + at) for job in ordered for at in (1, 2, 3)]


def test_a_file_has_several_groups_of_rows_when_there_are_many(tmp_path: Path) -> None:
    sink = open_sink(Settings(str(tmp_path)))
    (wide, _) = own_batch().samples
    wide = replace(wide, metrics=tuple(f"m{number}" for number in range(500)), values=(1.0,) * 500)
    sink.write(SampleBatch("n1", (wide,) * 5000))
    sink.close()
    (file,) = tmp_path.glob("*.parquet")
    with duckdb.connect() as connection:
        counted = f"SELECT count(DISTINCT row_group_id) FROM parquet_metadata('{file}')"
        assert connection.execute(counted).fetchall() == [(3,)]


def test_names_that_no_table_can_have_are_refused_and_cost_the_others_nothing(tmp_path: Path) -> None:
    sink = open_sink(Settings(str(tmp_path)))
    for metrics in ((), ("a", "A"), ("node",), ("",)):
        assert isinstance(sink.write(sample(metrics, (1,) * len(metrics)))[0], Rejected)
    assert isinstance(sink.write(sample(("a",), (10**400,)))[0], Rejected)
    strange = ("it's", 'so "said"; drop', "\N{GREEK SMALL LETTER MU}")
    assert isinstance(sink.write(sample(strange, (1, 2, 3), "../../etc/x"))[0], Accepted)
    sink.close()
    assert [row[-3:] for row in rows(tmp_path, "______etc_x")] == [(1.0, 2.0, 3.0)]
    assert [file.name[:2] for file in tmp_path.iterdir()] == ["__"]


def test_two_kinds_of_rows_of_one_source_are_read_together(tmp_path: Path) -> None:
    sink = open_sink(Settings(str(tmp_path)))
    for metrics in (("a",), ("a", "b"), ("b",)):
        assert all_accepted(sink.write(sample(metrics, tuple(range(len(metrics))))))
    sink.close()
    assert sorted(rows(tmp_path, "new", "a, b"), key=str) == [(0.0, 1.0), (0.0, None), (None, 0.0)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_delays_rows_and_leaves_only_whole_files(small_disk: Path) -> None:
    sink = open_sink(Settings(str(small_disk), file_max_bytes=2**16, compression="none"))
    sink.write(own_batch())
    sink.flush()
    written = 1
    for at in range(1, 5000):
        if isinstance(sink.write(own_batch(START + at, value=at * at))[0], Keep):
            break
        written += 1
    else:
        pytest.fail("it was never full")
    with pytest.raises(OSError, match="space"):
        sink.flush()
    assert all(file.suffix == ".parquet" for file in small_disk.iterdir())
    assert rows(small_disk, "cgroup")
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    sink.close()
    assert [row[0] for row in rows(small_disk, "cgroup", "time_ns // 1000000000")] == list(
        range(START, START + written)
    )


def test_a_file_that_may_not_grow_delays_rows(tmp_path: Path) -> None:
    sink = open_sink(Settings(str(tmp_path), compression="none"))
    for at in range(3000):
        sink.write(own_batch(START + at, value=at * at))
    with files_at_most(1000), pytest.raises(OSError, match=r"large|write"):
        sink.flush()
    sink.close()
    assert len(rows(tmp_path, "cgroup")) == 3000


KILLED = """
import sys
from jobmeter.sinks.samples.parquet import Settings, open_sink
from tests.sinks.samples.given import START, own_batch
sink = open_sink(Settings(sys.argv[1]))
for at in range(100000):
    sink.write(own_batch(START + at))
    sink.flush()
    print(at, flush=True)
"""


def test_after_a_kill_all_that_was_flushed_is_there(tmp_path: Path) -> None:
    process = started(KILLED, str(tmp_path))
    assert process.stdout is not None
    last = [process.stdout.readline() for _ in range(8)][-1]
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read()
    process.wait()
    process.stdout.close()
    flushed = int((last + rest).split()[-1])
    open_sink(Settings(str(tmp_path))).close()
    assert all(file.suffix == ".parquet" for file in tmp_path.iterdir())
    found = {row[0] for row in rows(tmp_path, "cgroup", "time_ns // 1000000000")}
    assert set(range(START, START + flushed + 1)) <= found
