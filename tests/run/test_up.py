"""`jobmeter up` as a user starts it: real processes, the real machine, a recorded sacct."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobmeter.observe.host import Host, SystemClock, this_host
from jobmeter.run import kinds
from jobmeter.run.up import files as up_files
from jobmeter.run.up import findings as up_findings
from jobmeter.run.up import progress as up_progress
from jobmeter.settings.load import load
from tests.certificates import Authority
from tests.observe import slurm_tables
from tests.process import PATIENCE_SECONDS, is_alive
from tests.run.test_serve import READY, SOURCE, Serving, command, environment

NOBODY = 65534


@contextmanager
def up(
    *words: str,
    folder: Path,
    extra: Mapping[str, str] = {},
    user: int | None = None,
    python: str = sys.executable,
) -> Iterator[tuple[Serving, list[str]]]:
    """`jobmeter up` at a free port, and every line that it says."""
    process = subprocess.Popen(
        [python, *command(["up", "--port", "0", "--data", "data", *words])[1:]],
        cwd=folder,
        env={**environment({}), **extra},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=user,
    )
    try:
        assert process.stdout is not None
        said: list[str] = []
        while line := process.stdout.readline():
            said.append(line.rstrip("\n"))
            if READY.search(line):
                break
        yield Serving(process, said), said
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


def ended(server: Serving, number: int = signal.SIGTERM) -> tuple[int, str]:
    server.process.send_signal(number)
    out, _ = server.process.communicate(timeout=PATIENCE_SECONDS)
    return server.process.returncode, out


def soon(found: Callable[[], Any]) -> Any:
    """What `found` gives once it gives something."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (value := found()):
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.1)
    return value


def samples_seen(server: Serving) -> bool:
    return b"procstats_" in server.get("/v2/samples?source=procstats&node_only=true")


def family(server: Serving) -> dict[int, str]:
    """The processes that it has begun, as the kernel knows them."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    found = {}
    for pid in children:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found[int(pid)] = Path(f"/proc/{pid}/cmdline").read_text()
    return found


def begun(pid: int) -> tuple[int, int]:
    """When a process began, and its number for those of one tick of the clock."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]), pid


def write_slurm(folder: Path, jobs: Sequence[str]) -> None:
    """A sacct that knows jobs which ended two hours ago, in the columns that `up` asks for."""
    end = datetime.now(UTC) - timedelta(hours=2)
    times = {
        name: f"{end - timedelta(minutes=back):%Y-%m-%dT%H:%M:%S}" for name, back in (("Submit", 70), ("Start", 60))
    }
    more = {"Account": "physics", "JobName": "<script>", "NNodes": "2", "End": f"{end:%Y-%m-%dT%H:%M:%S}", **times}
    rows = [slurm_tables.row(JobID=job, **more) for job in jobs]
    slurm_tables.write_table(folder, [])
    lines = ["\x1f".join(rows[0]), *("\x1f".join(each.values()) for each in rows)]
    (folder / "sacct.txt").write_text("\n".join(lines) + "\n")


def test_samples_of_the_machine_and_documents_of_the_host_are_there_within_seconds(tmp_path: Path) -> None:
    with up("--period", "0.5", folder=tmp_path, extra={"PATH": str(tmp_path)}) as (server, said):
        assert "not on this machine: slurm, htcondor, oar" in "\n".join(said)
        assert any("uses    procstats" in line for line in said)
        soon(lambda: samples_seen(server))
        documents = soon(lambda: json.loads(server.get("/v2/documents?limit=5"))["documents"])
        assert documents[0]["document"]["cluster"], documents[0]
        code, out = ended(server)
        assert code == 0
        assert out.strip().endswith("stopped")


@pytest.mark.skipif(os.geteuid() != 0, reason="a control group at the top of its tree is made by root")
def test_a_command_that_measures_itself_is_not_measured_a_second_time(tmp_path: Path) -> None:
    with up("--period", "0.2", folder=tmp_path) as (server, _):
        soon(lambda: samples_seen(server))
        words = ["--server", f"http://127.0.0.1:{server.port}", "--spool", "spool", "--json", "told.json"]
        subprocess.run(command(["run", *words, "--", "sleep", "1"]), cwd=tmp_path, env=environment({}), check=True)
        job = json.loads((tmp_path / "told.json").read_text())["job"]
        soon(lambda: json.loads(server.get(f"/v2/summaries?record_id=jobmeter-{job}"))["summaries"])
        after = time.time()
        soon(lambda: newest(server, "source=procstats&node_only=true") > after)
        assert ended(server)[0] == 0
    with up("--no-node", folder=tmp_path) as (server, _):
        told = json.loads(server.get(f"/v2/samples?manager=jobmeter&job={job}"))["series"]
    assert {each["source"] for each in told} == {"cgroup", "jobproc", "commands"}


def newest(server: Serving, question: str) -> float:
    """The time of the newest sample."""
    return max(float(each["times"][-1]) for each in json.loads(server.get(f"/v2/samples?{question}"))["series"])


def test_one_signal_from_the_terminal_ends_all_and_the_same_data_goes_on(tmp_path: Path) -> None:
    with up(folder=tmp_path) as (server, _):
        assert server.post("r1") == 200
        members = family(server)
        assert len(members) >= 3
        code, _ = ended(server, signal.SIGINT)
        assert code == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in members)
    with up(folder=tmp_path) as (server, _):
        assert server.records() == {"r1"}


def test_a_member_that_falls_comes_back_and_it_is_said(tmp_path: Path) -> None:
    with up("--period", "0.5", "--no-facility", folder=tmp_path) as (server, _):
        before = family(server)
        node = max(before, key=begun)
        os.kill(node, signal.SIGKILL)
        soon(lambda: len(family(server)) == len(before) and node not in family(server))
        _, out = ended(server)
        assert "node ended by itself with code -9 and starts again" in out


def test_the_members_end_when_the_first_process_is_killed(tmp_path: Path) -> None:
    with up(folder=tmp_path) as (server, _):
        members = family(server)
        server.process.kill()
        server.process.wait()
        soon(lambda: not any(is_alive(pid) for pid in members))


def test_jobs_of_a_slurm_that_is_found_become_records_of_this_site(tmp_path: Path) -> None:
    write_slurm(tmp_path / "slurm", ["17", "18"])
    path = f"{tmp_path / 'slurm'}:{os.environ['PATH']}"
    with up("--no-node", "--no-facility", "--site", "here", folder=tmp_path, extra={"PATH": path, "TZ": "UTC"}) as (
        server,
        said,
    ):
        assert any("uses    slurm" in line and "sacct" in line for line in said), said
        soon(lambda: server.records() == {"slurm-17", "slurm-18"})
        assert b'"site_id":["here"]' in server.get("/record/slurm-17")


def test_a_batch_system_that_does_not_answer_is_left_with_its_own_words(tmp_path: Path) -> None:
    slurm_tables.write_table(tmp_path / "slurm", [])
    (tmp_path / "slurm" / "fault.txt").write_text("sacct: error: slurmdbd is away\n")
    found = up_findings.batch_systems(
        this_host(), lambda name: str(tmp_path / "slurm" / "sacct") if name == "sacct" else None, ()
    )
    assert found[0].note.endswith("does not answer: sacct: error: slurmdbd is away")
    assert not found[0].used
    assert not found[0].absent


def test_the_reason_that_oarstat_begins_with_is_told_without_what_follows_from_it(tmp_path: Path) -> None:
    tool = tmp_path / "oarstat"
    tool.write_text(
        "#!/bin/sh\necho 'Configuration file not found. at /usr/share/perl5/OAR/Conf.pm line 64.' >&2\n"
        "echo 'Use of uninitialized value $host in pattern match at /usr/share/perl5/OAR/IO.pm line 262.' >&2\n"
        "echo 'Available drivers: DBM, Pg.' >&2\nexit 255\n"
    )
    tool.chmod(0o755)
    found = up_findings.batch_systems(this_host(), lambda name: str(tool) if name == "oarstat" else None, ())
    assert found[2].note == f"{tool} does not answer: Configuration file not found."


def test_what_is_left_out_is_said_and_not_asked(tmp_path: Path) -> None:
    slurm_tables.write_table(tmp_path / "slurm", [])
    found = up_findings.batch_systems(
        this_host(), lambda _: str(tmp_path / "slurm" / "sacct"), ("slurm", "htcondor", "oar")
    )
    assert [each.note for each in found[:2]] == ["left out by --no-slurm", "left out by --no-htcondor"]
    assert not (tmp_path / "slurm" / "calls.txt").exists()


def test_a_kubeconfig_is_found_where_kubectl_looks_for_it(tmp_path: Path) -> None:
    (tmp_path / "home/.kube").mkdir(parents=True)
    (tmp_path / "home/.kube/config").write_text("{}")
    host = Host(tmp_path, SystemClock(), {"HOME": "/home"})
    found = up_findings.batch_systems(host, lambda _: None, ())
    assert [each.name for each in found if each.used] == ["kubernetes"]


def test_a_dry_look_says_what_is_here_as_json_and_starts_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        command(["up", "--look", "--json"]),
        cwd=tmp_path,
        env=environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    found = {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert found["procstats"]["used"] is True
    assert {"slurm", "htcondor", "oar", "kubernetes", "rapl", "ipmi"} <= set(found)
    assert list(tmp_path.iterdir()) == []


def asked(server: Serving, path: str, token: str | None = None, scheme: str = "Bearer") -> tuple[int, bytes]:
    said = token if scheme == "Bearer" else b64encode(f"me:{token}".encode()).decode()
    headers = {} if token is None else {"Authorization": f"{scheme} {said}"}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_beyond_loopback_a_token_is_made_shown_once_and_used_by_its_own_processes(tmp_path: Path) -> None:
    write_slurm(tmp_path, ["501"])
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TZ": "UTC"}
    words = ("--listen", "0.0.0.0:0", "--period", "0.5", "--no-htcondor", "--no-oar", "--no-kubernetes")
    with up(*words, folder=tmp_path, extra=path) as (server, said):
        token = next(line.strip() for line in said if line.strip().startswith("jobmeter_"))
        assert asked(server, "/records")[0] == 401
        assert asked(server, "/")[0] == 401
        assert asked(server, "/", token, "Basic")[0] == 200
        soon(lambda: b"procstats_" in asked(server, "/v2/samples?source=procstats&node_only=true", token)[1])
        soon(lambda: json.loads(asked(server, "/v2/documents?limit=5", token)[1])["documents"])
        soon(lambda: b"501" in asked(server, "/records", token)[1])
        assert ended(server)[0] == 0
    assert "with a token; nothing is encrypted" in "\n".join(said)
    own = tmp_path / "data/up/token"
    assert own.stat().st_mode & 0o777 == 0o600
    secret = own.read_text()
    with up(*words, folder=tmp_path, extra=path) as (server, said):
        assert not any("jobmeter_" in line for line in said)
        assert asked(server, "/records", token)[0] == 200
    assert own.read_text() == secret
    logs = "".join(file.read_text() for file in (tmp_path / "data/logs").iterdir())
    assert token not in logs
    assert secret.strip() not in logs


def test_with_a_certificate_others_are_served_over_https_and_its_own_processes_stay_on_loopback(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue_server()
    tls = ("--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key))
    with up("--listen", "0.0.0.0:0", *tls, "--period", "0.5", folder=tmp_path) as (server, said):
        told = "\n".join(said)
        assert "nothing is encrypted" not in told
        port = next(int(match[1]) for match in re.finditer(r"https://\S+:(\d+), with a token", told))
        token = next(line.strip() for line in said if line.strip().startswith("jobmeter_"))

        def over_https(path: str, shown: str | None) -> tuple[int, bytes]:
            headers = {} if shown is None else {"Authorization": f"Bearer {shown}"}
            context = authority.client_context(None)
            with closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)) as connection:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.read()

        assert over_https("/records", None)[0] == 401
        assert asked(server, "/records")[0] == 401
        soon(lambda: b"procstats_" in over_https("/v2/samples?source=procstats&node_only=true", token)[1])
        soon(lambda: json.loads(over_https("/v2/documents?limit=5", token)[1])["documents"])
        with pytest.raises(OSError):
            socket.create_connection((own_address(), server.port), timeout=5).close()
        assert ended(server)[0] == 0


def own_address() -> str:
    """An address of this machine that others would use, or one of loopback where it has none."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.2"
        return str(probe.getsockname()[0])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--tls-certificate", "c.pem"), "go together"),
        (("--tls-key", "c.key"), "go together"),
        (("--tls-certificate", "no.pem", "--tls-key", "no.key"), "no.pem"),
    ],
)
def test_half_of_a_certificate_or_none_that_can_be_read_is_told(
    words: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    line = command(["up", "--port", "0", "--no-node", "--no-facility", *words])
    done = subprocess.run(line, cwd=tmp_path, env=environment({}), capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert reason in done.stdout + done.stderr


def test_on_loopback_a_token_is_asked_for_when_told_so(tmp_path: Path) -> None:
    with up("--require-authentication", "--no-node", "--no-facility", folder=tmp_path) as (server, said):
        assert any(line.strip().startswith("jobmeter_") for line in said)
        assert asked(server, "/records")[0] == 401


def test_whoever_lets_all_in_says_so(tmp_path: Path) -> None:
    words = ("--listen", "0.0.0.0:0", "--allow-remote-without-authentication", "--no-node", "--no-facility")
    with up(*words, folder=tmp_path) as (server, said):
        assert not any("jobmeter_" in line for line in said)
        assert asked(server, "/records")[0] == 200
        assert "anybody may read and write" in "\n".join(said)


@pytest.mark.parametrize("wrong", ["0.0.0.0:x", ":8000", "0.0.0.0:70000", "[::1"])
def test_an_address_that_is_none_is_wrong_use(wrong: str, tmp_path: Path) -> None:
    words = command(["up", "--listen", wrong])
    done = subprocess.run(words, cwd=tmp_path, env=environment({}), capture_output=True, check=False)
    assert done.returncode == 2


def test_two_do_not_share_a_data_folder(tmp_path: Path) -> None:
    with up("--no-node", folder=tmp_path):
        done = subprocess.run(
            command(["up", "--port", "0", "--data", "data"]),
            cwd=tmp_path,
            env=environment({}),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "another one runs on data" in done.stdout


def test_a_port_that_is_taken_is_the_reason_given(tmp_path: Path) -> None:
    with up("--no-node", "--no-facility", folder=tmp_path) as (server, _):
        done = subprocess.run(
            command(["up", "--port", str(server.port), "--data", "other"]),
            cwd=tmp_path,
            env=environment({}),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {server.port}" in done.stdout


def python_for_all() -> str | None:
    """An interpreter of our version that any user may run."""
    for path in (sys.executable, "/usr/bin/python3"):
        asked = [path, "-c", "import sys; print(*sys.version_info[:2])"]
        try:
            told = subprocess.run(asked, capture_output=True, text=True, check=False, user=NOBODY, cwd="/").stdout
        except (PermissionError, FileNotFoundError):
            continue
        if told.split() == [str(part) for part in sys.version_info[:2]]:
            return path
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_gets_numbers_and_is_told_what_cannot_be_seen() -> None:
    python = python_for_all()
    if python is None:
        pytest.skip("no interpreter of this version that an ordinary user may run")
    folder = Path(tempfile.mkdtemp(prefix="jobmeter-up-"))
    os.chown(folder, NOBODY, NOBODY)
    paths = os.pathsep.join([str(SOURCE), sysconfig.get_path("purelib")])
    try:
        extra = {"HOME": str(folder), "PYTHONPATH": paths}
        with up("--period", "0.5", folder=folder, extra=extra, user=NOBODY, python=python) as (server, said):
            assert any("running as an ordinary user" in line for line in said)
            assert any("leaves  taskstats" in line for line in said)
            soon(lambda: samples_seen(server))
            assert ended(server)[0] == 0
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("source", sorted(up_files.COLLECTORS))
def test_the_settings_made_for_a_collector_are_good_and_are_made_once(source: str, tmp_path: Path) -> None:
    place = up_files.Place('my site"', "n1", datetime(2026, 1, 2, tzinfo=UTC), "/opt/with space/sacct")
    file = up_files.collector_file(tmp_path, source, place)
    struct = kinds.settings(source)
    prefix = getattr(struct, "environment_prefix", None)
    variables = up_files.server_variables(source, "127.0.0.1", 4711, "/data/up/token")
    settings: Any = load(struct, file=file, environment=variables, prefix=prefix).settings
    assert settings.deployment.url == "http://127.0.0.1:4711"
    assert settings.deployment.spool_file == tmp_path / f"{source}.spool"
    assert settings.deployment.metrics.file == f"{tmp_path}/{source}.prom"
    file.write_text("# mine\n")
    assert up_files.collector_file(tmp_path, source, place).read_text() == "# mine\n"


def test_the_settings_of_documents_are_good(tmp_path: Path) -> None:
    file = up_files.facility_file(tmp_path, "here", "slurm")
    settings: Any = load(kinds.settings("facility"), file=file, environment={}, prefix=None).settings
    assert settings.sections == ("ssh", "host", "batch")
    assert settings.every_seconds == 60
    assert tomllib.loads(file.read_text())["batch"]["system"] == "slurm"


def test_progress_is_told_in_jobs_and_time_until_the_history_is_read(tmp_path: Path) -> None:
    file = tmp_path / "slurm.prom"
    assert up_progress.progress("slurm", file) is None
    file.write_text(
        'jobmeter_collect_queued_total{source="slurm"} 1200\njobmeter_collect_waiting{source="slurm"} 7\n'
        'jobmeter_collect_newest_job_end_timestamp_seconds{source="slurm"} 1700000000\nodd line\n'
    )
    now = up_progress.progress("slurm", file)
    assert now is not None
    assert (
        up_progress.sentence(now) == "slurm: reading history, 1200 jobs, up to 2023-11-14 22:13; 7 wait for the server"
    )
