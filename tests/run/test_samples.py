from __future__ import annotations

import gzip
import json
import os
import select
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from jobmeter.model.job import JobIdentity
from jobmeter.run.main import main
from jobmeter.serve.table import Beside
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.samples.open import SampleFolder
from tests.guard.source import SOURCE
from tests.serve.live import Live, live
from tests.serve.memory import MemoryStore
from tests.store_samples.given import JOB, START, SetClock, batch, opened, sample

BEGIN = START // 10**9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with opened(tmp_path / "store") as writer:
        for node in ("n1", "n2"):
            rows = [sample(second, (second * 2, 2**20 + second), node=node) for second in range(120)]
            writer.write(batch(*rows, *(sample(second, (1, 1), None, node, involved=(JOB,)) for second in range(3))))
    return tmp_path / "store"


@pytest.fixture
def server(folder: Path) -> Iterator[Live]:
    store = SampleFolder(folder, SampleBounds(), SetClock())
    with live(MemoryStore(), beside=Beside(store)) as running:
        yield running
    store.close()


def run(capfdbinary: pytest.CaptureFixture[bytes], *words: object) -> tuple[int, bytes, str]:
    code = main(["samples", *map(str, words)])
    out, err = capfdbinary.readouterr()
    return code, out, err.decode()


def test_a_job_is_told_in_a_line_per_metric_and_node(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    code, out, _ = run(capfdbinary, "4711", "--store", folder)
    assert code == 0
    lines = out.decode().splitlines()
    assert len(lines) == 6
    assert lines[1].split() == ["n1", "4711", "cpu", "120", "2", "2", "2", "238", "seconds/s"]
    assert lines[2].split() == ["n1", "4711", "memory", "120", "1Mi", "1Mi", "1Mi", "-", "bytes"]
    assert "2023-11-14 22:13:20 to 2023-11-14 22:15:19" in lines[5]


@pytest.mark.parametrize("form", ["--json", "--csv", "--lines", "--table", "--plot"])
def test_folder_and_server_print_the_same(
    folder: Path, server: Live, capfdbinary: pytest.CaptureFixture[bytes], form: str
) -> None:
    for words in (["slurm/4711"], ["slurm/c1/4711", "--step", "1m", "--metric", "cpu"], ["--node", "n2"]):
        from_folder = run(capfdbinary, *words, "--store", folder, form)
        from_server = run(capfdbinary, *words, "--server", f"http://127.0.0.1:{server.port}", form)
        assert from_folder[0] == 0
        assert from_folder == from_server
        assert len(from_folder[1].splitlines()) >= 1


def test_curves_fit_the_terminal_and_their_ends_are_labelled(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    _, out, _ = run(capfdbinary, "4711", "--store", folder, "--node", "n1", "--plot", "--metric", "memory")
    lines = out.decode().splitlines()
    assert lines[0] == "n1 memory [bytes]"
    assert lines[1].startswith("         1Mi ")
    assert all(len(line) <= 100 for line in lines)
    assert any("\u2801" <= letter <= "\u28ff" for letter in lines[1])


def test_a_picture_is_a_png(folder: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    code, _, err = run(capfdbinary, "4711", "--store", folder, "--png", tmp_path / "x.png")
    assert code == 0, err
    data = (tmp_path / "x.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    assert struct.unpack(">II", data[16:24]) == (1000, 380)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["4711", "--store", "FOLDER", "--step", "0"], 2, "--step"),
        (["4711", "--store", "FOLDER/none"], 2, "there is no folder"),
        (["4799", "--store", "FOLDER"], 4, "there are no such samples"),
        (["--store", "FOLDER"], 2, "name a job"),
        (["a//b", "--store", "FOLDER"], 2, "JOB"),
        (["4711", "--server", "http://127.0.0.1:9"], 1, "127.0.0.1:9"),
        (["4711", "--server", "ftp://x"], 2, "address"),
        (["4711", "--hdf5", "FOLDER/x"], 2, "there is no file"),
    ],
)
def test_what_is_wrong_has_its_exit_code_and_a_sentence(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes], words: list[str], code: int, told: str
) -> None:
    found, out, err = run(capfdbinary, *(word.replace("FOLDER", str(folder)) for word in words))
    assert (found, out) == (code, b"")
    assert told in err


def test_following_prints_what_comes_until_it_is_stopped(folder: Path) -> None:
    words = [sys.executable, "-m", "jobmeter", "samples", "4711", "--store", str(folder), "--follow"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as child, opened(folder) as writer:
        assert child.stdout is not None
        for second in range(1000, 1600):
            writer.write(batch(sample(second, (second, 0)), sample(second, (0, 0), JobIdentity("slurm", "c1", "9"))))
            if child.poll() is not None:
                break
            if select.select([child.stdout], [], [], 0.1)[0]:
                break
        line = json.loads(child.stdout.readline())
        child.terminate()
    assert line["job"] == "4711"
    assert line["units"]["cpu"] == "seconds"


def colmet_file(path: Path, job: int, stamps: list[int], hosts: list[str]) -> None:
    """A file in the layout that Colmet's collector has: a group per job, a table per record class."""
    kind = np.dtype([("cpu_run_real_total", "<i8"), ("hostname", "S255"), ("job_id", "<i8"), ("timestamp", "<i8")])
    rows = np.array([(stamp % 100, host, job, stamp) for stamp, host in zip(stamps, hosts, strict=True)], kind)
    if len(rows):
        rows["cpu_run_real_total"][0] = -1
    with h5py.File(path, "w") as file:
        file.create_dataset(f"job_{job}/taskstats_default", data=rows)


def test_colmets_files_of_a_period_are_extracted_as_oars_interface_takes_it(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for begin in (1_700_000_000, 1_700_000_100, 1_700_000_200):
        colmet_file(tmp_path / f"data.{begin}.hdf5", 42, [begin + 5, begin + 10, begin + 5], ["a", "a", "b"])
    prefix = tmp_path / "data"
    words = ("--hdf5", prefix, "--from", 1_700_000_100, "--to", 1_700_000_200, "--oar")
    code, out, _ = run(capfdbinary, "42", *words, "--metric", "cpu_run_real_total")
    assert code == 0
    found: dict[str, Any] = json.loads(gzip.decompress(out))
    assert found == {
        "timestamp": [1_700_000_105, 1_700_000_110, 1_700_000_105],
        "hostname": ["a", "a", "b"],
        "cpu_run_real_total": [None, 10, 5],
    }
    assert run(capfdbinary, "43", *words)[0] == 4
    code, out, _ = run(capfdbinary, "42", "--hdf5", tmp_path / "data.1700000000.hdf5", "--json")
    assert code == 0
    assert [one["node"] for one in json.loads(out)["series"]] == ["a", "b"]


def test_a_file_that_is_no_hdf5_is_told(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tmp_path / "x.hdf5").write_bytes(b"no")
    code, _, err = run(capfdbinary, "1", "--hdf5", tmp_path / "x.hdf5")
    assert code == 1
    assert "x.hdf5" in err
