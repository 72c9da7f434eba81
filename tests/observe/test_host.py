from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobmeter.observe.host import (
    CommandFailed,
    CommandMissing,
    CommandTimedOut,
    Host,
    Output,
    OutputTooLarge,
    SystemClock,
    this_host,
)
from tests.process import PATIENCE_SECONDS, eventually, is_alive, started

HOST = Host(Path("/"), SystemClock(), {})


def run(*argv: str, timeout_seconds: float = 20, output_max_bytes: int = 1 << 20) -> Output:
    return HOST.run(
        argv, environment={"PATH": "/usr/bin:/bin"}, timeout_seconds=timeout_seconds, output_max_bytes=output_max_bytes
    )


def test_a_command_gives_its_output_and_gets_exactly_the_environment() -> None:
    output = HOST.run(["/usr/bin/env"], environment={"A": "b c"}, timeout_seconds=20, output_max_bytes=1000)
    assert output == Output("A=b c\n", "", 0)


def test_arguments_reach_the_command_without_a_shell() -> None:
    assert run("printf", "%s", "$HOME; echo `id` 'x'").text == "$HOME; echo `id` 'x'"


def test_bytes_that_are_no_utf_8_are_replaced_and_counted() -> None:
    output = run("printf", r"a\377b\376 \357\277\275")
    assert output.text == "a\ufffdb\ufffd \ufffd"
    assert output.replaced == 2


def test_a_missing_command_is_told_apart() -> None:
    with pytest.raises(CommandMissing, match="/no/such/command"):
        run("/no/such/command")


def test_a_failing_command_tells_status_and_reason() -> None:
    with pytest.raises(CommandFailed, match="it broke") as caught:
        run("sh", "-c", "echo it broke >&2; exit 7")
    assert caught.value.status == 7
    assert caught.value.stderr == "it broke\n"


def test_a_command_that_does_not_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    for seconds in (1, 10, 60):  # longer where a busy machine did not even let it begin
        with pytest.raises(CommandTimedOut):
            run("sh", "-c", f"sleep 600 & echo $! $$ > {note}; wait", timeout_seconds=seconds)
        if note.exists() and (pids := note.read_text().split()):
            break
    child, parent = map(int, pids)
    eventually(lambda: not is_alive(child) and not is_alive(parent))


_ASKED = """
import os, signal, sys, threading, time
from jobmeter.observe.host import this_host
class Asked(BaseException): ...
def asked(*_): raise Asked
for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, asked)
def ask(seconds, which):
    time.sleep(seconds)
    os.kill(os.getpid(), which)
for number in range(200):
    asking = threading.Thread(target=ask, args=(number * 0.00002, (signal.SIGTERM, signal.SIGINT)[number % 2]))
    try:
        asking.start()
        this_host().run(
            ["sh", "-c", "echo $$ >> $0; exec sleep 600", sys.argv[1]],
            environment={"PATH": "/usr/bin:/bin"}, timeout_seconds=600, output_max_bytes=100,
        )
    except Asked:
        asking.join()
assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT) is asked
assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""


def test_a_signal_that_comes_while_a_command_is_started_leaves_nothing_behind(tmp_path: Path) -> None:
    """At two hundred moments within the milliseconds that it takes."""
    note = tmp_path / "pids"
    note.touch()
    with started(_ASKED, str(note)) as process:
        assert process.wait(PATIENCE_SECONDS) == 0
    eventually(lambda: not any(is_alive(int(pid)) for pid in note.read_text().split()))


def test_a_child_that_keeps_the_output_open_is_not_waited_for(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    began = time.monotonic()
    output = run("sh", "-c", f"sleep 600 & echo $! > {note}; echo done", timeout_seconds=60)
    assert output.text == "done\n"
    assert time.monotonic() - began < 30
    os.kill(int(note.read_text()), 9)


def test_too_much_output_is_refused_instead_of_filling_the_memory() -> None:
    with pytest.raises(OutputTooLarge):
        run("sh", "-c", "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done", output_max_bytes=100_000)


def test_paths_are_found_under_the_root() -> None:
    host = Host(Path("/recorded"), SystemClock(), {})
    assert host.path("/usr/bin/sacct") == Path("/recorded/usr/bin/sacct")
    assert host.path("testdb.db") == Path("testdb.db")


def test_this_host_tells_the_time_in_utc() -> None:
    now = this_host().clock.now()
    assert now.tzinfo is UTC
    assert abs((datetime.now(UTC) - now).total_seconds()) < 3600
