"""The command as Slurm calls it: a process for a job, on a recorded scontrol and a server on a real socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobmeter.deliver.announcements import Announcements
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.deliver.turn import Turn
from jobmeter.observe.host import Host, SystemClock
from jobmeter.run.collector import hook
from jobmeter.settings.deployment import Hook
from jobmeter.settings.fault import SettingsFaulty
from tests.observe import scontrol_player
from tests.observe.slurm_tables import NOW, SetClock
from tests.observe.test_slurm_epilog_text import printed
from tests.process import PATIENCE_SECONDS, eventually, free_port
from tests.run.test_collect import Server, environment, server

__all__ = ["server"]

HOOK = Hook(
    kept_variables=("SLURM_JOB_ID", "SLURM_JOB_NAME"), failure_exit_status=0, deliver_seconds=0, give_up_seconds=9
)


def configured(folder: Path, port: int, **more: object) -> Path:
    options = {
        "port": port,
        "scontrol_path": str(scontrol_player.command(folder / "slurm", {"scontrol.txt": printed()})),
        "scontrol_timeout_seconds": 20,
        "spool": {"path": str(folder / "epilog.spool")},
        **more,
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(options))
    return path


def command(config: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "jobmeter", "collect", "slurm-epilog", str(config), *options]


def epilog(config: Path, *options: str, job: str | None = "17", **more: str) -> subprocess.CompletedProcess[str]:
    named = {} if job is None else {"SLURM_JOB_ID": job, "SLURM_SCRIPT_CONTEXT": "epilog_slurmctld"}
    variables = environment(**named, **more)
    return subprocess.run(
        command(config, *options), env=variables, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def spool_of(folder: Path) -> Spool:
    return Spool(folder / "epilog.spool", SpoolSettings(), SystemClock())


def waiting(folder: Path) -> int:
    with spool_of(folder) as spool:
        return spool.status().entries


def announced(folder: Path) -> list[str]:
    return [announcement.variables["SLURM_JOB_ID"] for announcement in Announcements(folder / "epilog.spool").pending()]


def test_a_job_is_stored_and_a_detached_process_delivers_it(tmp_path: Path, server: Server) -> None:
    done = epilog(configured(tmp_path, server.server_port))
    assert (done.returncode, done.stdout) == (0, "")
    assert "hook.taken job=17 queued=1" in done.stderr
    eventually(lambda: list(server.records) == ["slurm-17"])
    eventually(lambda: waiting(tmp_path) == 0)
    assert announced(tmp_path) == []


def test_the_batch_system_does_not_wait_for_the_delivery(tmp_path: Path) -> None:
    config = configured(tmp_path, free_port(), deliver_seconds=4)
    started = time.monotonic()
    assert epilog(config).returncode == 0  # its output is a pipe: whoever held it would be waited for
    turn = Turn(tmp_path / "epilog.spool")
    eventually(lambda: not turn.is_free() or time.monotonic() - started > 4)
    assert waiting(tmp_path) == 1
    eventually(turn.is_free)


def test_what_the_server_did_not_take_is_delivered_with_the_next_job(tmp_path: Path, server: Server) -> None:
    assert epilog(configured(tmp_path, free_port(), deliver_seconds=0)).returncode == 0
    config = configured(tmp_path, server.server_port)
    (tmp_path / "slurm" / "scontrol.txt").write_text(printed(head="JobId=18 JobName=job"))
    assert epilog(config, job="18").returncode == 0
    eventually(lambda: sorted(server.records) == ["slurm-17", "slurm-18"])


@pytest.mark.parametrize("status", [0, 7])
def test_a_job_that_cannot_be_asked_for_stays_noted_and_is_taken_later(
    tmp_path: Path, server: Server, status: int
) -> None:
    config = configured(tmp_path, server.server_port, failure_exit_status=status, deliver_seconds=0)
    fault = tmp_path / "slurm" / "fault.txt"
    fault.write_text("slurm_load_jobs error: Unable to contact slurm controller")
    done = epilog(config)
    assert done.returncode == status
    assert "hook.not_taken job='17' kept=True" in done.stderr
    assert "Unable to contact" in done.stderr
    assert announced(tmp_path) == ["17"]
    fault.unlink()
    assert "slurm-17" in epilog(config, "--dry-run", job=None).stdout
    assert announced(tmp_path) == ["17"]
    assert epilog(config, "--once", job=None).returncode == 0
    assert (list(server.records), announced(tmp_path)) == (["slurm-17"], [])


def test_a_job_that_nobody_knows_any_more_becomes_a_dead_letter(tmp_path: Path, server: Server) -> None:
    config = configured(tmp_path, server.server_port, deliver_seconds=0, give_up_seconds=1)
    (tmp_path / "slurm" / "fault.txt").write_text("slurm_load_jobs error: Invalid job id specified")
    assert epilog(config).returncode == 0
    time.sleep(1.1)
    assert epilog(config, "--once", job=None).returncode == 0
    with spool_of(tmp_path) as spool:
        (letter,) = spool.letters(9)
    assert "Invalid job id" in letter.reason
    assert b"SLURM_JOB_ID=17" in letter.body
    assert announced(tmp_path) == []


def test_another_job_of_an_array_asks_again_for_a_job_that_is_of_none(tmp_path: Path, server: Server) -> None:
    config = configured(tmp_path, server.server_port, deliver_seconds=0)
    fault = tmp_path / "slurm" / "fault.txt"
    fault.write_text("no")
    assert epilog(config, SLURM_JOB_NAME="job").returncode == 0
    fault.unlink()
    told = {"SLURM_ARRAY_JOB_ID": "15", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_START_TIME": "1795255000"}
    done = epilog(configured(tmp_path, server.server_port), job="17", SLURM_JOB_END_TIME="1795255001", **told)
    assert done.returncode == 0
    eventually(lambda: announced(tmp_path) == [])
    asked = [argv[-1] for argv, _ in scontrol_player.calls(tmp_path / "slurm")]
    assert asked == ["17", "--json", "15_3", "17"]


def test_an_epilog_that_is_killed_loses_nothing(tmp_path: Path, server: Server) -> None:
    config = configured(tmp_path, server.server_port, deliver_seconds=0)
    (tmp_path / "slurm" / "slow.txt").write_text("")
    variables = environment(SLURM_JOB_ID="17", SLURM_SCRIPT_CONTEXT="epilog_slurmctld")
    with subprocess.Popen(command(config), env=variables, stderr=subprocess.DEVNULL) as process:
        eventually((tmp_path / "slurm" / "calls.txt").exists)
        process.send_signal(signal.SIGKILL)
    (tmp_path / "slurm" / "slow.txt").unlink()
    assert announced(tmp_path) == ["17"]
    assert epilog(config, "--once", job=None).returncode == 0
    assert (list(server.records), announced(tmp_path)) == (["slurm-17"], [])


def test_the_daemon_delivers_for_the_epilogs_and_asks_again(tmp_path: Path, server: Server) -> None:
    config = configured(tmp_path, server.server_port, ask_again_seconds=1)
    fault = tmp_path / "slurm" / "fault.txt"
    with subprocess.Popen(command(config), env=environment(), stderr=subprocess.DEVNULL) as daemon:
        try:
            eventually((tmp_path / "epilog.spool").exists)
            turn = Turn(tmp_path / "epilog.spool")
            eventually(lambda: not turn.is_free())
            fault.write_text("no")
            assert epilog(config).returncode == 0
            fault.unlink()
            eventually(lambda: list(server.records) == ["slurm-17"])
        finally:
            daemon.terminate()
    assert daemon.returncode == 0


def test_many_at_once_each_leave_their_record(tmp_path: Path, server: Server) -> None:
    config = configured(tmp_path, server.server_port)
    script = tmp_path / "slurm" / "scontrol"
    text = tmp_path / "slurm" / "scontrol.txt"
    script.write_text(f'#!/bin/sh\nexec sed "s/^JobId=17/JobId=$4/" {text}\n')
    numbers = [str(number) for number in range(100, 112)]
    started = [
        subprocess.Popen(
            command(config),
            env=environment(SLURM_JOB_ID=number, SLURM_SCRIPT_CONTEXT="epilog_slurmctld"),
            stderr=subprocess.DEVNULL,
        )
        for number in numbers
    ]
    assert [process.wait(PATIENCE_SECONDS) for process in started] == [0] * len(numbers)
    eventually(lambda: sorted(server.records) == [f"slurm-{number}" for number in numbers])
    assert server.received == len(numbers)


def test_settings_that_cannot_be_used_fail_no_node_and_the_job_is_noted(tmp_path: Path) -> None:
    host = Host(Path("/"), SetClock(), {"SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "a\nb", "HOME": "/"})
    spool = tmp_path / "away" / "epilog.spool"
    assert hook.misconfigured(spool, HOOK, "17", host, SettingsFaulty([])) == 0
    (announcement,) = Announcements(spool).pending()
    assert (announcement.announced, announcement.variables) == (NOW, {"SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "a\nb"})


def test_without_a_job_wrong_settings_are_wrong_use(tmp_path: Path) -> None:
    config = configured(tmp_path, 70_000)
    assert epilog(config, job=None).returncode == 2


def test_a_spool_that_cannot_be_opened_leaves_the_note(tmp_path: Path) -> None:
    config = configured(tmp_path, 1, deliver_seconds=0)
    (tmp_path / "epilog.spool").write_text("no spool")
    done = epilog(config)
    assert (done.returncode, announced(tmp_path)) == (0, ["17"])
    assert "not a spool" in done.stderr or "damaged" in done.stderr


def test_notes_survive_what_is_no_note(tmp_path: Path) -> None:
    announcements = Announcements(tmp_path / "s")
    assert announcements.pending() == []
    early = announcements.add("../../etc/x\0", {"A": "1"}, datetime(2026, 1, 1, tzinfo=UTC))
    late = announcements.add("18", {"A": os.fsdecode(b"\xff")}, datetime(2026, 1, 2, tzinfo=UTC))
    for announcement in (early, late):
        announcements.let_go(announcement)
    (announcements.folder / "half.json").write_text('{"announced":')
    (announcements.folder / "later.new").write_text("")
    assert [announcement.variables["A"] for announcement in announcements.pending()] == ["\ufffd", "1"]
    assert early.file.parent == announcements.folder
    announcements.remove(late)
    announcements.remove(late)
    assert [announcement.file for announcement in announcements.pending()] == [early.file]


def test_a_job_that_somebody_is_at_work_on_is_nobody_elses(tmp_path: Path) -> None:
    announcements = Announcements(tmp_path / "s")
    own = announcements.add("17", {}, datetime(2026, 1, 1, tzinfo=UTC))
    assert Announcements(tmp_path / "s").pending() == []
    announcements.let_go(own)
    assert [found.file for found in Announcements(tmp_path / "s").pending()] == [own.file]
