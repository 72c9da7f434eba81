"""The commands of a job, looked at on real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobmeter.contract import Reading, SampleSource
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.model.sample import Sample
from jobmeter.observe.host import Host, SystemClock
from jobmeter.observe.kernel import commands
from jobmeter.observe.tasks.clock import used_ns

BUSY = """
import sys, time
for name in sys.argv[1:]:
    open("/proc/self/comm", "w").write(name)
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    print(flush=True)
    sys.stdin.readline()
"""
SECOND = 10**9


@pytest.fixture
def source() -> Iterator[SampleSource]:
    opened = commands.open_source(commands.Settings(), Host(Path("/"), SystemClock(), {}, "n1"))
    yield opened
    opened.close()


def job(*processes: int, since_ns: int | None = 0) -> RunningJob:
    return RunningJob(JobIdentity("m", "c", "1"), {}, 1, since_ns, processes=processes)


def told(samples: Iterable[Sample]) -> list[tuple[str, int, int, int]]:
    """Command, second, centiseconds, processes."""
    return [(one.instance, one.time_ns // SECOND, int(one.values[0] or 0), int(one.values[2] or 0)) for one in samples]


@contextmanager
def busy(*names: str) -> Iterator[tuple[int, Callable[[], None]]]:
    """A process that becomes one program after the other; the call has it go on to the next. It ends with the block."""
    code = [sys.executable, "-c", BUSY, *names]
    with subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def go_on() -> None:
            stdin.write(b"\n")
            stdin.flush()
            stdout.readline()

        stdout.readline()
        yield process.pid, go_on


@contextmanager
def sleeping() -> Iterator[int]:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
            time.sleep(0.01)
        yield process.pid
        process.kill()


def test_a_process_that_becomes_another_program_counts_for_both(source: SampleSource) -> None:
    with busy("first", "=second") as (process, go_on):
        first = told(source.read(10 * SECOND, [job(process)]))
        used = [(used_ns(process) or 0) // 10**7]
        go_on()
        second = told(source.read(20 * SECOND, [job(process)]))
        used.append((used_ns(process) or 0) // 10**7)
    assert told(source.read(30 * SECOND, [job(process)])) == []
    assert [line[:2] + line[3:] for line in first] == [("first", 0, 0), ("first", 10, 1)]
    assert first[0][2] == 0
    assert 19 <= first[1][2] <= used[0] + 1
    assert [line[:2] + line[3:] for line in second] == [("=second", 10, 0), ("=second", 20, 1)]
    assert 18 <= second[1][2] <= used[1] - first[1][2] + 1


def test_a_command_that_comes_again_goes_on_from_where_it_was(source: SampleSource) -> None:
    with sleeping() as one:
        assert [line[1] for line in told(source.read(10 * SECOND, [job(one)]))] == [0, 10]
    assert told(source.read(20 * SECOND, [job(one)])) == []
    assert told(source.read(30 * SECOND, [job(one)])) == []
    with sleeping() as two:
        assert [line[1] for line in told(source.read(40 * SECOND, [job(two)]))] == [30, 40]
        assert told(source.read(50 * SECOND, [job(two)], Reading.LAST)) == []


def test_the_agent_leaves_the_commands_of_a_run_to_the_run_itself(source: SampleSource) -> None:
    host = Host(Path("/"), SystemClock(), {}, "n1")
    with sleeping() as process:
        run = RunningJob(JobIdentity("jobmeter", "", "1"), {}, 1, 0, processes=(process,))
        assert told(source.read(10 * SECOND, [run])) == []
        own = commands.open_source(commands.Settings(runs=True), host)
        assert [line[0] for line in told(own.read(10 * SECOND, [run]))] == ["sleep", "sleep"]
        own.close()


def test_of_a_job_that_was_there_before_nobody_says_that_it_began_at_nothing(source: SampleSource) -> None:
    with sleeping() as process:
        lines = told(source.read(10 * SECOND, [job(process, since_ns=None)]))
    assert [line[1] for line in lines] == [10]
