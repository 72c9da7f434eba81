"""`jobmeter doctor` on the real machine and on pictures of others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from jobmeter.observe.host import Host, SystemClock
from jobmeter.peer import Endpoint, bearer
from jobmeter.run.doctor.checks import Check, State, of_kernel, of_machine, of_python
from jobmeter.run.doctor.reach import of_server, of_spools
from tests.run.test_serve import Serving, command, environment, serving


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_it_says_every_check_of_this_machine_as_json_and_fails_only_for_bad_ones(tmp_path: Path) -> None:
    done = subprocess.run(
        command(["doctor", "--json", "--data", str(tmp_path)]),
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    checks = {one["name"]: one for one in json.loads(done.stdout)}
    assert {
        "python",
        "kernel",
        "cgroups",
        "taskstats",
        "perf",
        "rapl",
        "clock",
        "slurm",
        "server",
        "open files",
    } <= set(checks)
    assert (done.returncode == 1) == any(one["state"] == "bad" for one in checks.values())


def test_text_says_what_mends_each_thing(tmp_path: Path) -> None:
    words = ["doctor", "--data", str(tmp_path), "--server", "http://127.0.0.1:1", "--strict"]
    done = subprocess.run(command(words), env=environment({}), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "warn  server: http://127.0.0.1:1 does not answer" in done.stdout
    assert "        mend: jobmeter up, or --server URL" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="another user looks")
def test_a_folder_that_may_not_be_looked_into_is_bad_and_ends_nothing(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    child = os.fork()
    if child == 0:
        code = 2
        try:
            os.setuid(65534)
            checks = by_name(list(of_machine(Host(Path("/"), SystemClock(), {}), [shut / "data"], 0)))
            told, spools = checks[f"disk {shut / 'data'}"], list(of_spools([shut / "data"]))
            code = 0 if told.state is State.BAD and spools == [] else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def at(server: Serving) -> Endpoint:
    return Endpoint(f"http://127.0.0.1:{server.port}", 5.0)


def test_a_running_server_is_reached_and_a_wrong_token_is_told(tmp_path: Path) -> None:
    with serving("serve", "--port", "0", "--data", "kept", folder=tmp_path) as server:
        checks = by_name(list(of_server(at(server), None, None)))
        assert checks["server"].state is State.GOOD
        assert checks["token"].state is State.GOOD
    token = tmp_path / "token"
    token.write_text("jm_wrong\n")
    with serving("serve", "--port", "0", "--data", "kept", "--require-authentication", folder=tmp_path) as server:
        checks = by_name(list(of_server(at(server), bearer(None, str(token)), str(token))))
        assert checks["token"].state is State.BAD
        assert checks["token"].mend.startswith("jobmeter token create")


def test_a_port_that_is_taken_and_a_folder_without_room_are_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        checks = by_name(list(of_machine(Host(tmp_path, SystemClock(), {}), [tmp_path / "new"], port)))
    assert checks[f"port {port}"].state is State.WARNING
    assert "not made yet" in checks[f"disk {tmp_path / 'new'}"].found
    assert checks["systemd"].state is State.NONE


def test_perf_of_an_ordinary_user_depends_on_the_kernels_level(tmp_path: Path) -> None:
    folder = tmp_path / "proc/sys/kernel"
    folder.mkdir(parents=True)
    (folder / "perf_event_paranoid").write_text("3\n")
    (folder / "task_delayacct").write_text("0\n")
    checks = by_name(list(of_kernel(Host(tmp_path, SystemClock(), {}), 1000)))
    assert (
        checks["perf"].mend
        == "sysctl kernel.perf_event_paranoid=0, or at most 2 and CAP_PERFMON, which the unit jobmeter-node has"
    )
    assert checks["delay accounting"].mend == "sysctl kernel.task_delayacct=1"
    assert checks["cgroups"].state is State.BAD


def test_a_damaged_spool_is_bad_and_a_whole_one_is_good(tmp_path: Path) -> None:
    (tmp_path / "bad.spool").write_bytes(b"no database at all" * 100)
    checks = by_name(list(of_spools([tmp_path])))
    assert checks[f"spool {tmp_path / 'bad.spool'}"].state is State.BAD


def test_what_is_not_installed_is_no_fault() -> None:
    checks = by_name(list(of_python()))
    assert checks["python"].state is State.GOOD
    assert checks["extra server"].state is State.GOOD


def test_what_is_to_be_looked_at_cannot_be_told_without_what_mends_it() -> None:
    with pytest.raises(ValueError, match="nothing is said"):
        Check("clock", State.WARNING, "is wrong")
