"""`jobmeter run`: real commands, the real kernel, a real server."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobmeter.run.measured.measuring import busy_seconds, shared
from jobmeter.serve.table import Beside
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.open import open_store
from jobmeter.store.samples.open import SampleFolder
from jobmeter.store.summaries import Summaries
from tests.process import PATIENCE_SECONDS, eventually, free_port, is_alive
from tests.serve.live import FixedClock, Live, live, until

IS_ROOT = os.geteuid() == 0
UNTIL_GOT = """
print('ready', flush=True)
while not got: time.sleep(0.05)
time.sleep(0.5)
"""
"""Waits for a signal, and then whether it comes once more."""
SPIN = """
import time
end = time.process_time() + {seconds}
while time.process_time() < end:
    pass
"""


def started(*words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "jobmeter", "run", *words],
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(*words: str, **options: Any) -> tuple[int, str, str]:
    with started(*words, **options) as process:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, out, err


def measured(folder: Path, *words: str, code: int = 0) -> dict[str, Any]:
    """What `--json` wrote of a command that is measured only."""
    file = folder / "measured.json"
    options = list(words[: words.index("--")])
    status, _, err = run("--no-record", "--quiet", "--json", str(file), *options, *words[words.index("--") :])
    assert (status, err) == (code, "")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
)
def test_the_status_of_the_command_is_passed_on(script: str, status: int) -> None:
    assert run("--no-record", "--quiet", "--", "sh", "-c", script) == (status, "", "")


def test_what_cannot_be_run_is_told_as_a_shell_does(tmp_path: Path) -> None:
    assert run("--", "no-such-command-there")[0] == 127
    (tmp_path / "file").write_text("")
    assert run("--", str(tmp_path / "file"))[0] == 126
    status, _, err = run("--")
    assert (status, "name a command" in err) == (2, True)


def test_standard_streams_are_those_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("one\ntwo\n")
    with (tmp_path / "in").open() as stdin:
        status, out, err = run("--no-record", "--", "sh", "-c", "cat; echo three >&2", stdin=stdin)
    assert (status, out) == (0, "one\ntwo\n")
    assert err.startswith("three\n")
    assert "wall time" in err


def test_words_behind_the_command_are_the_commands_own() -> None:
    assert run("--no-record", "--quiet", "echo", "--json", "--", "x") == (0, "--json -- x\n", "")


@pytest.mark.parametrize(
    "mode", [pytest.param([], marks=pytest.mark.skipif(not IS_ROOT, reason="cgroups")), ["--no-cgroup"]]
)
def test_the_processor_time_of_a_short_command_is_complete(tmp_path: Path, mode: list[str]) -> None:
    # The command says itself what it used; what the kernel did before and after in its name comes on top.
    script = SPIN.format(seconds=0.05) + "print(time.process_time())"
    file = tmp_path / "m.json"
    status, out, _ = run("--no-record", "--quiet", "--json", str(file), *mode, "--", sys.executable, "-S", "-c", script)
    assert status == 0
    assert json.loads(file.read_text())["cpu_seconds"] >= 0.99 * float(out)


@pytest.mark.parametrize(
    "mode", [pytest.param([], marks=pytest.mark.skipif(not IS_ROOT, reason="cgroups")), ["--no-cgroup"]]
)
def test_many_short_processes_count_in_full(tmp_path: Path, mode: list[str]) -> None:
    script = f"{SPIN.format(seconds=0.05)}"
    body = f"for i in 1 2 3 4 5 6; do {sys.executable} -S -c '{script}'; done"
    assert measured(tmp_path, *mode, "--", "sh", "-c", body)["cpu_seconds"] >= 0.297


def test_the_wall_time_is_the_commands_and_not_ours(tmp_path: Path) -> None:
    began = time.monotonic()
    found = measured(tmp_path, "--", sys.executable, "-S", "-c", "import time; time.sleep(0.5)")
    assert 0.5 <= found["wall_seconds"] < time.monotonic() - began


def test_memory_is_told_with_its_meaning(tmp_path: Path) -> None:
    # More than these tests hold: a process's peak, as the kernel tells it, begins with that of who started it.
    size = (200 << 20) + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    script = f"b = bytearray({size}); import time; time.sleep(0.3)"
    found = measured(tmp_path, "--no-cgroup", "--", sys.executable, "-S", "-c", script)
    assert found["memory_peak_bytes"] >= size
    assert "resident" in found["memory_peak_meaning"]
    found = measured(tmp_path, "--", sys.executable, "-S", "-c", script)
    assert found["memory_peak_bytes"] >= size
    assert found["largest_process_bytes"] >= size


def test_a_command_smaller_than_we_are_has_no_largest_process(tmp_path: Path) -> None:
    assert measured(tmp_path, "--", "true")["largest_process_bytes"] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_sent_to_us_reaches_the_command_once(number: signal.Signals) -> None:
    script = (
        "import signal, time, sys\n"
        f"got = []\nsignal.signal({int(number)}, lambda *_: got.append(1))\n"
        f"{UNTIL_GOT}"
        "sys.exit(40 + len(got))"
    )
    with started("--no-record", "--quiet", "--", sys.executable, "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == 41


def test_a_measurement_that_was_stopped_and_continued_goes_on(tmp_path: Path) -> None:
    go_on, file = tmp_path / "go-on", tmp_path / "m.json"
    script = f"echo ready; while [ ! -e {go_on} ]; do sleep 0.05; done"
    with started("--no-record", "--quiet", "--json", str(file), "--", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(3):
            time.sleep(0.5)
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            process.send_signal(signal.SIGCONT)
        go_on.touch()
        assert process.communicate(timeout=PATIENCE_SECONDS) == ("", "")
        assert process.returncode == 0
    assert json.loads(file.read_text())["wall_seconds"] > 5


def test_a_terminals_interrupt_reaches_the_command_once() -> None:
    script = (
        "import signal, time, sys\n"
        "got = []\nsignal.signal(2, lambda *_: got.append(1))\n"
        "assert sys.stdin.isatty()\n"
        f"{UNTIL_GOT}"
        "print('got', len(got), flush=True)"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(
            sys.executable,
            [sys.executable, "-m", "jobmeter", "run", "--no-record", "--quiet", "--", sys.executable, "-c", script],
        )
    seen = b""
    sent = False
    while True:
        try:
            piece = os.read(terminal, 1024)
        except OSError:
            break
        if not piece:
            break
        seen += piece
        if b"ready" in seen and not sent:
            sent = True
            os.write(terminal, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, seen
    os.close(terminal)
    assert b"got 1" in seen


def test_the_command_has_signals_and_mask_as_a_shell_gives_them() -> None:
    script = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
    expected = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert run("--no-record", "--quiet", "--", "sh", "-c", script)[1] == expected.stdout


def test_a_command_that_leaves_a_process_behind_is_not_waited_for(tmp_path: Path) -> None:
    script = "setsid sleep 600 >/dev/null 2>&1 & echo $!"
    status, out, err = run("--no-record", "--", "sh", "-c", script)
    pid = int(out)
    try:
        assert status == 0
        assert "1 process goes on running" in err
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_an_inner_run_counts_in_the_outer_one(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer.json", tmp_path / "inner.json"
    words = ["-m", "jobmeter", "run", "--no-record", "--quiet", "--json", str(inner), "--", sys.executable, "-S", "-c"]
    status, _, err = run(
        "--no-record", "--quiet", "--json", str(outer), "--", sys.executable, *words, SPIN.format(seconds=0.5)
    )
    assert (status, err) == (0, "")
    used = [json.loads(file.read_text())["cpu_seconds"] for file in (outer, inner)]
    assert used[0] > used[1] >= 0.5


def test_nothing_of_a_control_group_is_left(tmp_path: Path) -> None:
    job = measured(tmp_path, "--", "true")["job"]
    assert not list(Path("/sys/fs/cgroup").glob(f"**/jobmeter/run-{job}"))


@pytest.mark.skipif(not IS_ROOT or shutil.which("setpriv") is None, reason="only root may become somebody else")
def test_an_ordinary_user_measures_without_a_group(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent != Path("/tmp") and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    file = tmp_path / "m.json"
    # The interpreter may lie where others may not look; looking is all that this user is given beyond his own.
    as_nobody = [
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
    ]  # fmt: skip
    command = ["run", "--no-record", "--json", str(file), "--", sys.executable, "-S", "-c", SPIN.format(seconds=0.2)]
    words = [*as_nobody, sys.executable, "-m", "jobmeter", *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert found["cpu_from"] == "processes that were waited for"
    assert found["cpu_seconds"] >= 0.198


@contextmanager
def serving(sqlite_url: str, folder: Path, port: int = 0) -> Iterator[Live]:
    store, summaries = open_store(sqlite_url), Summaries(sqlite_url)
    samples = SampleFolder(folder / "samples", SampleBounds(), FixedClock())
    with live(store, beside=Beside(samples, summaries), port=port) as running:
        yield running
    samples.close()
    summaries.close()
    store.close()


@pytest.fixture
def server(sqlite_url: str, tmp_path: Path) -> Iterator[Live]:
    with serving(sqlite_url, tmp_path) as running:
        yield running


def test_record_samples_and_summary_arrive_at_the_server(server: Live, tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    address = f"http://127.0.0.1:{server.port}"
    words = ["--server", address, "--spool", str(tmp_path / "spool"), "--json", str(file), "--name", "first", "--site"]
    status, _, told = run(*words, "here", "--", sys.executable, "-S", "-c", SPIN.format(seconds=1.2))
    assert status == 0
    found = json.loads(file.read_text())
    record_id = f"jobmeter-{found['job']}"
    assert f"jobmeter: page        {address}/job/{record_id}\n" in told
    until(lambda: bool(server.ask("GET", f"/records?record_id={record_id}").body.strip(b"[] \n")))
    record = json.loads(server.ask("GET", f"/v2/records?record_id={record_id}").body)["records"][0]
    amounts = {each["name"]: each["amount"] for each in record["components"]}
    assert amounts["TotalCPU"] == round(found["cpu_seconds"])
    assert record["meta"]["name"] == ["first"]
    assert record["meta"]["site_id"] == ["here"]
    summary = json.loads(server.ask("GET", f"/v2/summaries?record_id={record_id}").body)["summaries"][0]
    assert summary["ended"] is True
    tables = json.loads(server.ask("GET", f"/v2/samples?manager=jobmeter&job={found['job']}").body)
    assert tables


def test_a_server_that_is_away_costs_nothing_and_gets_it_later(sqlite_url: str, tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "m.json"
    words = ["--server", f"http://127.0.0.1:{port}", "--spool", str(tmp_path / "spool"), "--quiet"]
    assert run(*words, "--json", str(file), "--", "true") == (0, "", "")
    assert len(list((tmp_path / "spool").glob("*.spool"))) == 2
    first = f"jobmeter-{json.loads(file.read_text())['job']}"
    with serving(sqlite_url, tmp_path, port) as server:

        def has_come_with_a_later_job() -> bool:
            assert run(*words, "--", "true") == (0, "", "")
            return bool(server.ask("GET", f"/record/{first}").status == 200)

        eventually(has_come_with_a_later_job)


def test_a_folder_gets_all_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    words = ("--store", str(folder), "--quiet", "--", sys.executable, "-S", "-c", SPIN.format(seconds=0.3))
    assert run(*words) == (0, "", "")
    record = json.loads((folder / "records.jsonl").read_text())
    summary = json.loads((folder / "summaries.jsonl").read_text())
    job = summary["job"]["job"]
    assert record["record_id"] == f"jobmeter-{job}"
    done = subprocess.run(
        [sys.executable, "-m", "jobmeter", "samples", job, "--store", str(folder / "samples"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_stored_is_said_and_changes_no_status(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, out, err = run("--store", str(tmp_path / "file"), "--quiet", "--", "sh", "-c", "echo x; exit 5")
    assert (status, out) == (5, "x\n")
    assert "not all is stored" in err
    status, _, err = run("--spool", str(tmp_path / "file" / "spool"), "--quiet", "--", "sh", "-c", "exit 6")
    assert status == 6
    assert "not all is stored" in err


def test_the_energy_of_a_job_is_its_share_of_the_busy_time() -> None:
    assert shared(100.0, 2.0, 8.0) == 25.0
    assert shared(100.0, 2.0, 1.0) == 100.0
    assert shared(100.0, 0.0, 0.0) is None
    assert shared(100.0, 2.0, None) is None


def test_busy_time_leaves_idling_out() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    assert busy_seconds(f"cpu  {ticks} 0 {ticks} 900 50 0 0 0 7 7\ncpu0 1\n") == 2.0
    assert busy_seconds("") is None
    assert busy_seconds("cpu a b") is None
