"""kill -9 at every statement, and a log cut at every write: nothing that a cursor has passed is ever missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from tests.deliver import killed
from tests.deliver.material import Recorder, SetClock, batch
from tests.sinks.scripted import Request, ScriptedServer, Step, answer

ROOT = Path(__file__).parents[2]
WAL_HEADER_BYTES, FRAME_HEADER_BYTES, PAGE_BYTES = 32, 24, 4096


class Receiver:
    """What arrived, by the first part of the path; records called poison are refused."""

    def __init__(self) -> None:
        self.arrived: dict[str, list[str]] = defaultdict(list)

    def take(self, request: Request) -> Step:
        run = request.path.split("/")[1]
        outcomes = []
        for record in json.loads(request.body):
            poison = "poison" in record["record_id"]
            outcomes.append({"outcome": "invalid", "reason": "poison"} if poison else {"outcome": "new"})
            if not poison:
                self.arrived[run].append(record["record_id"])
        return answer(200, json.dumps({"outcomes": outcomes}).encode())


def held(folder: Path, clock: SetClock) -> tuple[int, set[str]]:
    """How many batches the cursor has passed, and the ids of the records that the spool holds in any form."""
    with Spool(folder / "spool.db", SpoolSettings(reserve_bytes=0), clock) as spool:
        spool.verify()
        bodies = [letter.body for letter in spool.letters(1000)]
        while entries := spool.due(100):
            bodies += [entry.body for entry in entries]
        return int(spool.cursor("s") or 0), {json.loads(body)["record_id"] for body in bodies if body.startswith(b"{")}


def expected(batches: int) -> set[str]:
    return {f"{number}-{name}" for number in range(batches) for name in ("a", "poison", "c")}


def test_a_collector_killed_at_any_statement_loses_nothing(tmp_path: Path) -> None:
    receiver = Receiver()
    with ScriptedServer(receiver.take) as server:
        program = [sys.executable, "-m", "tests.deliver.killed", str(tmp_path), server.address]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        run = subprocess.run(
            program, env=environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600
        )
        kills = int(run.stdout)
        assert kills > 100
        for number in range(1, kills + 2):
            folder, key = tmp_path / str(number), str(number)
            if (folder / "spool.db").exists():
                shutil.copytree(folder, folder / "seen")
                later = SetClock()
                later.move(3600)
                passed, in_spool = held(folder / "seen", later)
                assert expected(passed) <= in_spool | set(receiver.arrived[key]), f"killed at statement {number}"
            later = SetClock()
            later.move(7200)
            assert killed.collect_and_deliver(folder, f"{server.address}/{number}", later)
            wanted = {name for name in expected(killed.BATCHES) if "poison" not in name}
            assert set(receiver.arrived[key]) == wanted, f"killed at statement {number}"
            with Spool(folder / "spool.db", SpoolSettings(), later) as spool:
                status = spool.status()
                letters = spool.letters(100)
            assert status.entries == 0
            assert len(letters) == 2 * killed.BATCHES
            assert status.counters["collected"] == 3 * killed.BATCHES


def test_a_log_cut_at_any_write_holds_what_its_cursor_has_passed(tmp_path: Path) -> None:
    alive, cut = tmp_path / "alive", tmp_path / "cut"
    alive.mkdir()
    sink = Recorder()
    clock = SetClock()
    with Spool(alive / "spool.db", SpoolSettings(reserve_bytes=0), clock) as spool:
        for number in range(6):
            spool.absorb("s", batch(f"{number}-a", f"{number}-poison", f"{number}-c", cursor=str(number + 1)))
            if number % 2:
                entries = spool.due(2)
                spool.settle(list(zip(entries, sink.send([entry.body for entry in entries]), strict=True)))
        main, log = (alive / "spool.db").read_bytes(), (alive / "spool.db-wal").read_bytes()
    arrived = {json.loads(body)["record_id"] for body in sink.accepted}
    frame = FRAME_HEADER_BYTES + PAGE_BYTES
    ends = range(WAL_HEADER_BYTES, len(log) + 1, frame)
    cursors = set()
    for end in sorted({0, 16, *ends, *(end + 24 for end in ends), *(end + 2000 for end in ends)}):
        cut.mkdir()
        (cut / "spool.db").write_bytes(main)
        (cut / "spool.db-wal").write_bytes(log[:end])
        passed, in_spool = held(cut, SetClock())
        assert expected(passed) <= in_spool | arrived, f"cut at byte {end}"
        cursors.add(passed)
        shutil.rmtree(cut)
    assert cursors == set(range(7))
