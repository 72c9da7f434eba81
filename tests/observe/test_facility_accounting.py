"""Our reading of the user accounting files beside that of the system's own `who` and `last`."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.facility.ssh import Settings, open_section
from jobmeter.observe.sessions import accounting
from tests.observe.facility_host import Machine

RECORD = accounting._RECORD


def entry(kind: int, pid: int, line: str, user: str, ago: float) -> bytes:
    host, seconds = b"host.example.org", int(time.time() - ago)
    return RECORD.pack(kind, pid, line.encode(), b"ts", user.encode(), host, 0, 0, 0, seconds, 0)


def real(*command: str) -> list[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"LC_ALL": "C", **os.environ})
    return [line.split()[0] for line in done.stdout.splitlines() if line.strip()]


def test_utmp_is_read_as_the_real_who_reads_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    alive = os.getpid()
    long_name = "a-name-of-thirty-two-letters-lon"
    entries = [entry(2, 0, "~", "reboot", 9000), entry(7, alive, "pts/0", "alice", 100)]
    entries += [entry(7, alive, "pts/1", long_name, 90), entry(8, alive, "pts/3", "", 70)]
    file = machine.file("/run/utmp", b"".join(entries))
    (machine.root / "proc" / str(alive)).mkdir(parents=True)
    assert accounting.logged_in(machine.host, file) == real("who", str(file)) == ["alice", long_name]


def test_a_session_whose_process_is_gone_is_none(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    file = machine.file("/run/utmp", entry(7, 4711, "pts/2", "stale", 80))
    assert accounting.logged_in(machine.host, file) == []


def test_the_section_reads_the_real_who(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    file = machine.file("/run/utmp", entry(7, os.getpid(), "pts/0", "alice", 100))
    script = machine.bin / "who"
    script.write_text(f"#!/bin/sh\nexec {shutil.which('who')} {file}\n")
    script.chmod(0o755)
    (batch,) = open_section(Settings(), machine.host).read(None)
    assert batch.documents[0].body["users"] == ["alice"]


def test_wtmp_is_read_as_the_real_last_reads_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    file = machine.file(
        "/var/log/wtmp",
        entry(2, 0, "~", "reboot", 90_000)
        + entry(7, 10, "pts/5", "dave", 8000)
        + entry(8, 10, "pts/5", "", 4000)
        + entry(7, 11, "pts/6", "carol", 200)
        + entry(8, 11, "pts/6", "", 100)
        + entry(7, 12, "pts/7", "erin", 50),
    )
    machine.clock.moment = datetime.now(UTC)
    said = real("last", "-w", "-f", str(file), "-s", "-5min")
    printed = [user for user in said if user not in ("reboot", "wtmp", file.name)]
    found = accounting.active_since(machine.host, accounting.window_start(machine.host, 300))
    assert sorted(found or []) == sorted(printed) == ["carol", "erin"]


@pytest.mark.parametrize("content", [b"x", b"\0" * 383, b"\0" * 385])
def test_a_file_of_another_form_is_told(content: bytes, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    file = machine.file("/run/utmp", content)
    with pytest.raises(SourceUnreadable, match="no accounting file"):
        accounting.logged_in(machine.host, file)
