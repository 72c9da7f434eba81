"""The command as cron starts it: real processes, recorded commands, an endpoint on loopback."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jobmeter
from tests.observe.facility_host import Machine
from tests.process import PATIENCE_SECONDS, eventually, free_port
from tests.sinks.scripted import Request, ScriptedServer, Step, answer
from tests.system.facility import decoded

SRC = Path(jobmeter.__file__).parents[1]
CASES = Path(__file__).parents[1] / "cases"
WHO = "alice pts/0 2026-03-01 09:12 (h)\nbob pts/1 2026-03-01 09:13 (h)\nalice pts/2 2026-03-01 09:14 (h)\n"
NODE = os.uname().nodename
TOKEN = "s3cret-token"


class Cron:
    """Where the command runs: its commands, its state, its folder."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder)
        self.state = folder / "state"
        self.files = folder / "files"
        self.state.mkdir()
        self.files.mkdir()
        self.machine.command("who", WHO)
        case = CASES / "batch" / "htcondor-23.9" / "commands"
        self.machine.command("condor_q", (case / "condor_q").read_bytes())
        self.machine.command("condor_history", (case / "condor_history").read_bytes())

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The alias, as its console script starts it."""
        call = "import sys; from jobmeter.run.main import afmetrics_collector; sys.exit(afmetrics_collector())"
        return subprocess.run(
            [sys.executable, "-c", call, *words],
            env={
                "PATH": f"{self.machine.bin}:/usr/bin:/bin",
                "PYTHONPATH": str(SRC),
                "STATE_DIRECTORY": str(self.state),
                **environment,
            },
            cwd=self.files,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )


@pytest.fixture
def cron(tmp_path: Path) -> Cron:
    return Cron(tmp_path)


@pytest.fixture
def endpoint() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda _: answer(200)) as server:
        yield server


def sent(server: ScriptedServer) -> list[Any]:
    return [json.loads(request.body) for request in server.requests]


def test_the_cron_line_sends_what_it_always_sent_in_the_same_order(cron: Cron, endpoint: ScriptedServer) -> None:
    done = cron.run("-v", "-sjb", "--host", "-t", TOKEN, "-c", "UC-AF", "-q", "all:", "-u", f"{endpoint.address}/")
    found = sent(endpoint)
    kinds = [document["kind"] for document in found]
    assert kinds[:4] == ["ssh", "CPU", "MEM", "NETWORK"]
    assert kinds[kinds.index("condorqueue") :] == ["condorqueue", *["condorjob"] * (kinds.count("condorjob"))]
    assert set(kinds[4 : kinds.index("condorqueue")]) <= {"DISK"}
    assert found[0] == {
        "token": TOKEN, "kind": "ssh", "cluster": "UC-AF", "login_node": NODE, "ssh_user_count": 2,
        "users": ["alice", "bob"],
    }  # fmt: skip
    assert all(document["token"] == TOKEN and document["cluster"] == "UC-AF" for document in found)
    assert done.returncode == 1, "there is no Kubernetes here, and it was asked for"
    assert done.stderr.count("facility.unreadable section=jupyter") == 2
    assert TOKEN not in done.stderr
    assert done.stdout == ""


FIELDS = {
    "condorqueue": {"queue": str, "idle": int, "running": int, "held": int}
    | {"allocated_cores": int, "allocated_mem": int},
    "ssh": {"login_node": str, "ssh_user_count": int, "users": list},
    "condorjob": {"users": str, "Id": str, "Runtime": int, "state": str},
    "DISK": {"login_node": str, "mount": str, "total": int, "used": int, "free": int, "utilization": float},
    "CPU": {"login_node": str, "load": float},
    "NETWORK": {"login_node": str, "network": dict},
    "MEM": {"login_node": str, "total": int, "available": int},
}  # fmt: skip
"""The fields of the AF metrics collector's own examples, beside token, kind and cluster."""


def test_fields_and_types_are_those_of_the_examples(cron: Cron, endpoint: ScriptedServer) -> None:
    cron.machine.file("facility.toml", '[host]\nmounts = ["/"]\n')
    config = str(cron.machine.root / "facility.toml")
    done = cron.run("-sb", "--host", "-q", "all:", "--config", config, "-u", f"{endpoint.address}/")
    assert done.returncode == 0, done.stderr
    seen = {}
    for document in sent(endpoint):
        kind, cluster, token = document.pop("kind"), document.pop("cluster"), document.pop("token")
        assert (cluster, token) == ("UC-AF", None)
        document.pop("device", None)
        assert {key: type(value) for key, value in document.items()} == FIELDS[kind]
        seen[kind] = document
    assert set(seen) == set(FIELDS)
    assert {key: type(value) for key, value in seen["NETWORK"]["network"].items()} == {
        "sent": int, "received": int, "interval": float,
    }  # fmt: skip


def test_debug_writes_the_same_files_and_sends_nothing(cron: Cron, endpoint: ScriptedServer) -> None:
    words = ("-d", "-vv", "-sb", "--host", "-t", TOKEN, "-u", f"{endpoint.address}/")
    assert cron.run(*words).returncode == 0
    assert {file.name for file in cron.files.iterdir()} == {"ssh.json", "host.json", "condor.json"}
    assert cron.run(*words).returncode == 0
    assert len(decoded(cron.files / "ssh.json")) == 2
    network = [document for document in decoded(cron.files / "host.json") if document["kind"] == "NETWORK"]
    assert [document["network"]["interval"] > 0 for document in network] == [True, True]
    assert endpoint.requests == []


def test_files_that_cannot_be_written_are_told_soon(cron: Cron) -> None:
    (cron.files / "ssh.json").mkdir()
    began = time.monotonic()
    done = cron.run("-ds")
    assert time.monotonic() - began < 30
    assert done.returncode == 1
    assert "ssh.json" in done.stderr


def test_the_sample_of_the_package_is_fine(cron: Cron) -> None:
    sample = Path(__file__).parents[2] / "packaging" / "samples" / "facility.toml"
    done = subprocess.run(
        [sys.executable, "-m", "jobmeter", "check", str(sample)],
        env={"PYTHONPATH": str(SRC)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "as settings of facility" in done.stdout


def test_a_finished_job_goes_out_once_and_debug_takes_nothing_from_it(cron: Cron, endpoint: ScriptedServer) -> None:
    def finished() -> int:
        endpoint.requests.clear()
        assert cron.run("-b", "-u", f"{endpoint.address}/").returncode == 0
        return sum(document["state"] == "finished" for document in sent(endpoint))

    assert cron.run("-bd").returncode == 0
    first = finished()
    assert first > 5
    assert finished() == 0


def test_pseudonyms_stand_for_users_and_hosts_everywhere(cron: Cron, endpoint: ScriptedServer) -> None:
    cron.machine.command("condor_history", f"no schedd on {NODE} for alice", 1)
    done = cron.run(
        "-vv", "-sb", "--host", "-o", "-O", "example.org", "-z", "5tKC%>f&%#hg", "-u", f"{endpoint.address}/"
    )
    ssh = sent(endpoint)[0]
    digits = "".join(letter for letter in NODE if letter.isdigit())
    assert ssh["login_node"] == f"atlas{digits}.example.org"
    assert ssh["users"][0] == "3afeeb59"
    everything = json.dumps(sent(endpoint)) + done.stderr
    everything += "".join(file.read_bytes().decode("latin-1") for file in cron.state.iterdir())
    assert "alice" not in everything
    assert NODE not in everything.replace(str(cron.state), "")
    by_code = cron.run("-s", "-o", "--user-hash", "sha256-first8", "--dry-run")
    assert json.loads(by_code.stdout)["users"][0] == "2bd806c9"


def test_strict_behaves_as_the_superseded_program(cron: Cron, endpoint: ScriptedServer) -> None:
    cron.machine.command("who", "", 1)
    done = cron.run("--strict", "-jsb", "-o", "--host", "-u", f"{endpoint.address}/")
    assert done.returncode == 0
    found = {document["kind"]: document for document in sent(endpoint)}
    assert found["ssh"]["ssh_user_count"] == 0
    assert found["NETWORK"]["network"] == {"sent": 0, "received": 0, "interval": 0.0}
    cron.machine.command("who", WHO)
    assert json.loads(cron.run("--strict", "-so", "--dry-run").stdout)["users"][0] == "2bd806c9"


def test_a_group_keeps_its_users_and_an_unknown_one_stops_nothing_silently(cron: Cron) -> None:
    cron.machine.command("who", "root pts/0 x\nnobody-of-this-name pts/1 x\n")
    done = cron.run("-s", "-g", "root", "--dry-run")
    assert json.loads(done.stdout)["users"] == ["root"]
    unknown = cron.run("-s", "-g", "no-such-group", "--dry-run")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no group" in unknown.stderr


@pytest.mark.parametrize(
    "words",
    [["-q", ":x"], ["--user-hash", "crc"], ["--bogus"], ["-u", "af.example.org"], ["--array", "0"], ["--within", "x"]],
)
def test_wrong_use_ends_with_2(cron: Cron, words: list[str]) -> None:
    done = cron.run("-s", *words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_bundles_prefixes_version_and_no_section_work_as_they_did(cron: Cron) -> None:
    assert cron.run("--version").stdout.startswith("afmetrics_collector ")
    assert cron.run().returncode == 0
    assert cron.run("-sdtTOK", "-cX", "--ssh-h", "--hos", "--bat").returncode == 0
    assert {file.name for file in cron.files.iterdir()} == {"ssh.json", "host.json", "condor.json"}
    assert decoded(cron.files / "ssh.json")[0]["token"] == "TOK"
    assert cron.run("--obf").returncode == 2


def test_file_environment_and_options_are_layers(cron: Cron, endpoint: ScriptedServer) -> None:
    file = cron.machine.file(
        "facility.toml",
        f'sections = ["ssh"]\ncluster = "FILE"\n[send]\nurl = "{endpoint.address}/"\ntoken = "file"\narray = 10\n',
    )
    assert cron.run("--config", str(file), JOBMETER_FACILITY_SEND__TOKEN="variable").returncode == 0
    assert cron.run("--config", str(file), "-c", "OPTION", "-t", "option").returncode == 0
    first, second = (documents[0] for documents in sent(endpoint))
    assert (first["cluster"], first["token"]) == ("FILE", "variable")
    assert (second["cluster"], second["token"]) == ("OPTION", "option")
    file.write_text('cluster = "X"\n[batch]\nqueues = [{constraint = "x"}]\n[host]\nmonts = []\n')
    wrong = cron.run("-s", "--config", str(file))
    assert wrong.returncode == 2
    assert f"{file}:3" in wrong.stderr
    assert "monts" in wrong.stderr


AWAY = {
    "500": lambda _: answer(500, b"oops"),
    "302": lambda _: answer(302, b"", "Location: http://127.0.0.1:1/"),
    "hung": lambda _: Step(b"HTTP/1.1 200 OK\r\n" * 1000, pause_seconds=0.2),
    "cut": lambda _: Step(b"", close=True),
}


@pytest.mark.parametrize("name", AWAY)
def test_what_the_endpoint_does_not_take_is_sent_by_the_next_run(cron: Cron, name: str, tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    file.write_text("deliver_seconds = 2\nwithin_seconds = 100\n")
    with ScriptedServer(AWAY[name]) as server:
        began = time.monotonic()
        done = cron.run("-s", "--config", str(file), "-u", f"{server.address}/")
        assert time.monotonic() - began < 90, "the time for delivering bounds it"
        assert done.returncode == 1
        assert "facility.not_delivered" in done.stderr
        assert all(request.method == "POST" for request in server.requests)
        server.drop_connections()
    file.write_text("deliver_seconds = 60\nwithin_seconds = 100\n")
    with ScriptedServer(lambda _: answer(200)) as server:
        done = cron.run("-s", "--config", str(file), "-u", f"{server.address}/")
        assert done.returncode == 0, done.stderr
        assert len(sent(server)) == 2


def test_nobody_at_the_endpoint_loses_nothing(cron: Cron, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    file = tmp_path / "f.toml"
    file.write_text("deliver_seconds = 0.5\n")
    assert cron.run("-s", "--host", "--config", str(file), "-u", url).returncode == 1
    status = subprocess.run(
        [sys.executable, "-m", "jobmeter", "spool", "status", str(cron.state / "facility.spool"), "--json"],
        env={"PYTHONPATH": str(SRC)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(status.stdout)["entries"] >= 4


def test_a_run_that_would_take_too_long_ends_in_time(cron: Cron) -> None:
    script = cron.machine.bin / "who"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    began = time.monotonic()
    done = cron.run("-s", "--within", "1")
    assert time.monotonic() - began < 30
    assert done.returncode == 1
    assert "facility.overdue" in done.stderr


def test_two_runs_at_once_do_not_disturb_each_other(cron: Cron, endpoint: ScriptedServer) -> None:
    script, begun, go_on = cron.machine.bin / "who", cron.files / "begun", cron.files / "go-on"
    script.write_text(f"#!/bin/sh\ntouch {begun}\nwhile [ ! -e {go_on} ]; do sleep 0.05; done\n")
    file = cron.machine.file("facility.toml", "within_seconds = 300\n[ssh]\ntimeout_seconds = 300\n")
    call = [sys.executable, "-m", "jobmeter", "facility", "-s", "--config", str(file), "-u", f"{endpoint.address}/"]
    environment = {
        "PATH": f"{cron.machine.bin}:/usr/bin:/bin", "PYTHONPATH": str(SRC), "STATE_DIRECTORY": str(cron.state),
    }  # fmt: skip
    with subprocess.Popen(call, env=environment, stderr=subprocess.DEVNULL):
        try:
            eventually(begun.exists)
            second = cron.run("--host", "-u", f"{endpoint.address}/")
            assert second.returncode == 1
            assert "facility.overlap" in second.stderr
        finally:
            go_on.touch()


def test_the_daemon_observes_every_so_often_and_stops_when_asked(cron: Cron, endpoint: ScriptedServer) -> None:
    call = [sys.executable, "-m", "jobmeter", "facility", "-s", "--every", "1", "-u", f"{endpoint.address}/"]
    environment = {
        "PATH": f"{cron.machine.bin}:/usr/bin:/bin", "PYTHONPATH": str(SRC), "STATE_DIRECTORY": str(cron.state),
    }  # fmt: skip
    with subprocess.Popen(call, env=environment, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            eventually(lambda: len(endpoint.requests) >= 3)
        finally:
            daemon.terminate()
        assert daemon.wait(PATIENCE_SECONDS) == 0


def _as_nobody(folder: Path, user: int) -> list[str] | None:
    """A way to run the package as a nameless user: the tests' own interpreter may lie where nobody may not look."""
    import msgspec  # noqa: PLC0415
    import yaml  # noqa: PLC0415

    for package in (jobmeter, msgspec, yaml):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    way = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        probe = subprocess.run(
            [*way, python, "-c", "import msgspec"], env={"PYTHONPATH": str(folder)}, capture_output=True, check=False
        )
        if probe.returncode == 0:
            return [*way, python]
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_the_cron_line_works_as_nobody(endpoint: ScriptedServer) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        user = 100_000 + secrets.randbelow(1_000_000_000)  # what it leaves is this test's alone
        way = _as_nobody(folder, user)
        if way is None:
            pytest.skip("no interpreter that nobody may run")
        cron = Cron(folder / "cron")
        call = "import sys; from jobmeter.run.main import afmetrics_collector; sys.exit(afmetrics_collector())"
        words = ["-vv", "-sb", "--host", "-t", TOKEN, "-o", "-O", "d.org", "-z", "s", "-g", "nogroup"]
        done = subprocess.run(
            [*way, "-c", call, *words, "-u", f"{endpoint.address}/"],
            env={"PATH": f"{cron.machine.bin}:/usr/bin:/bin", "PYTHONPATH": str(folder), "HOME": "/nonexistent"},
            cwd="/", capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        shutil.rmtree(f"/var/tmp/jobmeter-{user}")
    assert done.returncode == 0, done.stderr
    found = sent(endpoint)
    assert [document["kind"] for document in found][:4] == ["ssh", "CPU", "MEM", "NETWORK"]
    assert found[0]["users"] == [], "alice and bob are not of the group"


def test_a_request_of_ours_is_what_the_superseded_program_sends(cron: Cron) -> None:
    seen: list[Request] = []

    def look(request: Request) -> Step:
        seen.append(request)
        return answer(200)

    with ScriptedServer(look) as server:
        cron.run("-s", "-u", f"{server.address}/")
    assert (seen[0].method, seen[0].path, seen[0].headers["content-type"]) == ("POST", "/", "application/json")
