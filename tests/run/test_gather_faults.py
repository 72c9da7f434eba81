"""`jobmeter gather` when something goes wrong beside it: killed nodes, slow outputs, rotations, clocks that jump."""

from __future__ import annotations

import signal
import time
import urllib.request
from pathlib import Path

import duckdb
import h5py
import pytest

from jobmeter.transport.backlog import Bounds
from jobmeter.transport.sender import Sender, SenderSettings
from tests.process import eventually, free_port, started
from tests.run.test_gather import FREE, gather, values
from tests.transport.given import batch, gathering

NODE = """
import sys, time
from pathlib import Path
from jobmeter.transport.backlog import Bounds
from jobmeter.transport.sender import Sender, SenderSettings
from tests.transport.given import batch
bounds = Bounds(memory_seconds=float(sys.argv[3]))
sender = Sender(SenderSettings((sys.argv[1],), spool_folder=Path(sys.argv[2]), bounds=bounds), "n1")
for number in range(500):
    sender.offer(batch(number))
    time.sleep(0.002)
while sender._inbox:
    time.sleep(0.01)
time.sleep(0.5)
print("offered", sender.spool_bytes, flush=True)
time.sleep(60)
"""


def test_of_a_node_that_is_killed_all_that_was_in_its_spool_arrives(tmp_path: Path) -> None:
    with started(NODE, "tcp://127.0.0.1:1", str(tmp_path), "0.05") as node:
        assert node.stdout is not None
        assert int(node.stdout.readline().split()[1]) > 0
        node.kill()
    with gathering() as there:
        again = Sender(SenderSettings((there.acknowledged,), spool_folder=tmp_path), "n1")
        again.offer(batch(1000))
        eventually(lambda: 1000 in there.values())
        eventually(lambda: again.waiting == 0)
        again.close(0)
        found = there.values()
    arrived = [value for value in found if value != 1000]
    assert arrived == list(range(len(arrived)))
    assert len(arrived) >= 450  # what was younger than the time that frames wait in memory


def test_of_a_node_that_is_killed_only_what_was_in_memory_is_lost(tmp_path: Path) -> None:
    with gathering() as there:
        with started(NODE, there.acknowledged, str(tmp_path), "10") as node:
            assert node.stdout is not None
            node.stdout.readline()
            eventually(lambda: there.intake.counts.samples == 500)
            node.kill()
        assert there.values() == list(range(500))
        assert there.intake.streams.missing_frames() == 0


ALL = """
flush_seconds = 0.2
[listen]
plain = ""
[journal]
folder = "{folder}/journal"
[metrics]
port = {port}
[outputs.text]
path = "{folder}/text"
[outputs.hdf5]
path = "{folder}/hdf5/data"
write_seconds = 0.2
[outputs.parquet]
folder = "{folder}/parquet"
[outputs.elasticsearch]
address = "http://127.0.0.1:1"
"""


def test_at_hup_every_output_begins_anew_and_one_that_is_away_holds_up_none(tmp_path: Path) -> None:
    port = free_port()
    config, shown = tmp_path / "gather.toml", tmp_path / "text"
    config.write_text(ALL.format(folder=tmp_path, port=port))
    with gather(tmp_path, str(config), "--bind-acknowledged", "tcp://127.0.0.1:*") as running:
        sender = Sender(SenderSettings((running.address("acknowledged"),)), "n1")
        for turn in range(3):
            for value in range(turn * 20, turn * 20 + 20):
                sender.offer(batch(value))
            eventually(lambda: shown.exists() and len(values(shown.read_text().splitlines())) == 20)
            shown.rename(tmp_path / f"text.{turn}")
            running.process.send_signal(signal.SIGHUP)
            eventually(lambda turn=turn: len(list((tmp_path / "parquet").glob("*.parquet"))) == turn + 1)  # type: ignore[misc]
            eventually(shown.exists)
        told = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        assert running.end() == 0
        sender.close(0)
    assert 'jobmeter_gather_output_accepted_samples_total{output="text"} 60' in told
    assert 'jobmeter_gather_output_accepted_samples_total{output="parquet"} 60' in told
    assert 'jobmeter_gather_output_accepted_samples_total{output="elasticsearch"} 0' in told
    assert 'jobmeter_gather_output_missed_samples_total{output="elasticsearch"} 0' in told
    assert [values((tmp_path / f"text.{turn}").read_text().splitlines()) for turn in range(3)] == [
        list(range(turn * 20, turn * 20 + 20)) for turn in range(3)
    ]
    stamps: list[int] = []
    for file in sorted((tmp_path / "hdf5").glob("data.*.hdf5")):
        with h5py.File(file) as opened:
            stamps += [int(stamp) for stamp in opened["job_1000/cgroup"]["timestamp"]]
    assert sorted(stamps) == list(range(60))
    counted = duckdb.execute(f"SELECT count(*), count(DISTINCT time_ns) FROM '{tmp_path}/parquet/*.parquet'").fetchone()
    assert counted == (60, 60)


class Jumping:
    """A monotonic clock that is told how much time went by."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def test_a_gatherer_that_is_away_for_an_hour_gets_every_second_of_it(tmp_path: Path) -> None:
    clock = Jumping()
    bounds = Bounds(memory_bytes=50_000)
    there_not = SenderSettings(("tcp://127.0.0.1:1",), spool_folder=tmp_path, bounds=bounds)
    sender = Sender(there_not, "n1", monotonic=clock)
    for second in range(3600):
        sender.offer(batch(second))
        clock.ahead += 1.0
        if second % 100 == 0:
            eventually(lambda: not sender._inbox)
    eventually(lambda: sender.waiting == 3600)
    assert sender.tally.dropped == 0
    sender.close(0)
    with gathering() as there:
        again = Sender(SenderSettings((there.acknowledged,), spool_folder=tmp_path), "n1")
        eventually(lambda: again.waiting == 0)
        again.close(0)
        assert there.values() == list(range(3600))


@pytest.mark.parametrize("jump_seconds", [-10 * 365 * 86400, 10 * 365 * 86400])
def test_a_nodes_clock_that_jumps_changes_stamps_only(tmp_path: Path, jump_seconds: int) -> None:
    now = 1_700_000_000
    with gather(tmp_path, "--text", *FREE) as running:
        sender = Sender(SenderSettings((running.address("acknowledged"),)), "n1")
        for number in (now, now + 1, now + 2 + jump_seconds, now + 3):
            sender.offer(batch(number))
        eventually(lambda: sender.tally.sent == 4)
        assert running.end() == 0
        sender.close(0)
    assert values(running.printed) == [now, now + 1, now + 2 + jump_seconds, now + 3]
