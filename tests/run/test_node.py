"""The command `jobmeter node` as a process: its options, its file, its signals, what it says of itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.observe.kernel_groups import Groups, groups
from tests.process import PATIENCE_SECONDS, eventually, is_alive

__all__ = ["groups"]

NODE = [sys.executable, "-m", "jobmeter", "node"]


def _once(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run([*NODE, "--print", "--once", *words], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def _jobs(lines: list[dict[str, Any]], source: str) -> list[tuple[str, str]]:
    return [
        (line["job"]["manager"], line["job"]["job"]) for line in lines if line.get("source") == source and line["job"]
    ]


class Running:
    """A node that runs, with what it has printed."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.out, self.err = folder / "out", folder / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen([*NODE, "--print", *words], stdout=out, stderr=err)

    def until(self, seen: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not seen():
            assert time.monotonic() < end, self.err.read_text()
            assert self.process.poll() is None, self.err.read_text()
            time.sleep(0.05)

    def said(self, event: str) -> int:
        return self.err.read_text().count(event)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    nodes: list[Running] = []

    def start(*words: str) -> Running:
        nodes.append(Running(tmp_path, *words))
        return nodes[-1]

    yield start
    for node in nodes:
        node.process.kill()
        node.process.wait()


def test_several_roots_a_regex_of_ones_own_and_single_groups_processes_and_threads(groups: Groups) -> None:
    for name in ("one", "two"):
        groups.make(name)
    for path in (groups.root / "one" / "job.5", groups.root / "two" / "job.6", groups.root / "two" / "user_7"):
        path.mkdir()
    roots = [word for name in ("one", "two") for word in ("--cpuset_rootpath", str(groups.root / name))]
    regex = ["--regex_job_id", r"^job\.(\d+)$"]
    me, one = str(os.getpid()), str(groups.root / "one")
    lines = _once(*roots, *regex, "-c", one, "-p", me, "-t", me)
    expected = [("cgroup", one), ("process", me), ("thread", me)]
    assert _jobs(lines, "cgroup") == [expected[0], ("oar", "5"), ("oar", "6")]
    assert _jobs(lines, "taskstats") == expected[1:]
    for path in (groups.root / "one" / "job.5", groups.root / "two" / "job.6", groups.root / "two" / "user_7"):
        path.rmdir()


def test_colmets_options_switch_sources_on_and_off(tmp_path: Path) -> None:
    tool = tmp_path / "power"
    tool.write_text('#!/bin/sh\necho "power : $1 W"\n')
    tool.chmod(0o755)
    words = ["--disable-procstats", "--enable-jobproc", "--enable-ipmipower", "--ipmipower-cmd", str(tool), "312"]
    lines = _once("--as-colmet", *words)
    read = {line["instance"] for line in lines if "agent_source_reads" in line.get("values", {})}
    assert read == {"cgroup", "taskstats", "jobproc", "ipmi"}
    assert [line["values"] for line in lines if line["source"] == "ipmi"] == [{"ipmi_power": 312}]


def test_a_file_gives_each_source_its_period_and_settings(tmp_path: Path, running: Callable[..., Running]) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        f'node_name = "n7"\nsample_period_seconds = 60\n[metrics]\nfile = "{tmp_path}/node.prom"\n'
        "[sources.procstats]\nperiod_seconds = 0.1\n[sources.disk]\nenabled = false\n"
    )
    node = running(str(file))
    node.until(lambda: node.out.read_text().count('"source":"procstats"') >= 5)
    assert '"instance":"disk"' not in node.out.read_text()
    assert "node=n7" in node.err.read_text()
    node.until((tmp_path / "node.prom").exists)
    text = (tmp_path / "node.prom").read_text()
    assert 'jobmeter_node_source_reads_total{source="procstats"}' in text
    assert "process_cpu_seconds_total" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_with_a_last_reading(number: signal.Signals, running: Callable[..., Running]) -> None:
    node = running("-s", "3600")
    node.until(lambda: '"agent_cpu"' in node.out.read_text())
    before = node.out.read_text().count('"agent_cpu"')
    node.process.send_signal(number)
    assert node.process.wait(PATIENCE_SECONDS) == 0
    assert node.out.read_text().count('"agent_cpu"') == before + 1
    assert "Traceback" not in node.err.read_text()


def test_hup_reads_the_settings_again(tmp_path: Path, running: Callable[..., Running]) -> None:
    file = tmp_path / "node.toml"
    file.write_text('node_name = "before"\n')
    node = running(str(file))
    node.until(lambda: node.said("node.started") == 1)
    file.write_text('node_name = "after"\n')
    node.process.send_signal(signal.SIGHUP)
    node.until(lambda: node.said("node.started node=after") == 1)
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("wrong", ["node_name = 1\n", "[sources.gpu]\n", "= nothing ="])
def test_settings_that_are_wrong_when_they_are_read_again_change_nothing(
    wrong: str, tmp_path: Path, running: Callable[..., Running]
) -> None:
    file = tmp_path / "node.toml"
    file.write_text('node_name = "before"\n')
    node = running(str(file))
    node.until(lambda: node.said("node.started node=before") == 1)
    file.write_text(wrong)
    node.process.send_signal(signal.SIGHUP)
    node.until(lambda: node.said("node.started node=before") == 2)
    assert node.said("node.not_reloaded") == 1
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(PATIENCE_SECONDS) == 0


def test_a_tool_that_hangs_ends_with_the_agent(tmp_path: Path, running: Callable[..., Running]) -> None:
    tool, told = tmp_path / "power", tmp_path / "told"
    tool.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {told}.part\nmv {told}.part {told}\nwait\n")
    tool.chmod(0o755)
    node = running("--ipmipower-cmd", str(tool))
    node.until(told.exists)
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(PATIENCE_SECONDS) == 0
    eventually(lambda: not is_alive(int(told.read_text())), "the tool ends")


def test_what_is_named_and_not_there_is_said(running: Callable[..., Running]) -> None:
    node = running("-p", "999999999", "-s", "0.2")
    node.until(lambda: node.said("node.no_such_process id=999999999") == 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[sources.gpu]\n", "there is no source 'gpu'"),
        ("[sources.perf]\nevents = ['cycles']\n", "there is no event 'cycles'"),
        ("[sources.ipmi]\nperiod_seconds = 'x'\n", "sources.ipmi.period_seconds: is not a number of seconds"),
        ("[jobs]\nmanagers = ['pbs']\n", "there is no layout for 'pbs'"),
        ("[[jobs.folder]]\npath = '/x'\npattern = '('\n", "is no regular expression"),
        ("period = 5\n", "period"),
    ],
)
def test_a_wrong_file_is_told_with_place_and_reason(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    done = subprocess.run([*NODE, "--once", "--print", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_options_are_told(tmp_path: Path) -> None:
    wrong = (
        ["-s", "0"],
        ["--regex_job_id", "("],
        ["-c", str(tmp_path)],
        ["-c", "/sys/fs/cgroup"],
        ["--zeromq-uri", "nowhere"],
        ["-p", "-1"],
    )
    for words in wrong:
        done = subprocess.run([*NODE, "--once", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 2, (words, done.stderr)
        assert "Traceback" not in done.stderr
