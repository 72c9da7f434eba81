"""`jobmeter gather` as a process of its own, with real nodes in front of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobmeter.transport.sender import Sender, SenderSettings
from tests.process import PATIENCE_SECONDS, eventually
from tests.transport.given import batch

ROOT = Path(__file__).parents[2]


class Running:
    """The program, its log and what it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed: list[str] = []
        self.logged: list[str] = []
        self._threads = [
            threading.Thread(target=lambda: self.printed.extend(process.stdout or ()), daemon=True),
            threading.Thread(target=lambda: self.logged.extend(process.stderr or ()), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        eventually(lambda: any("gather.listening" in line for line in list(self.logged)) or process.poll() is not None)

    def address(self, name: str) -> str:
        (found,) = re.findall(rf"gather\.listening .*{name}=(\S+)", "".join(self.logged))
        return str(found)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        return code


@contextmanager
def gather(folder: Path, *words: str) -> Iterator[Running]:
    command = [sys.executable, "-m", "jobmeter", "gather", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        running = Running(process)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.kill()


FREE = ("--zeromq-bind-uri", "tcp://127.0.0.1:*", "--bind-acknowledged", "tcp://127.0.0.1:*")


def values(lines: Sequence[str]) -> list[int]:
    return [int(found) for line in list(lines) for found in re.findall(r"cgroup_cpu_usage=(\d+)", line)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_samples_of_a_node_are_printed_and_a_signal_ends_it_orderly(tmp_path: Path, number: int) -> None:
    with gather(tmp_path, "--text", *FREE) as running:
        sender = Sender(SenderSettings((running.address("acknowledged"),)), "n1")
        for value in range(50):
            sender.offer(batch(value))
        eventually(lambda: sender.tally.sent == 50)
        assert running.end(number) == 0
        sender.close(0)
        assert values(running.printed) == list(range(50))


def test_after_a_kill_nothing_that_was_answered_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "samples.txt"
    config = tmp_path / "gather.toml"
    config.write_text(f'flush_seconds = 3600\n[outputs.text]\npath = "{file}"\n[listen]\nplain = ""\n')
    with gather(tmp_path, str(config), "--bind-acknowledged", "tcp://127.0.0.1:*") as running:
        address = running.address("acknowledged")
        sender = Sender(SenderSettings((address,), answer_seconds=1), "n1")
        for value in range(40):
            sender.offer(batch(value))
        eventually(lambda: sender.tally.sent == 40)
        running.process.kill()
        running.process.wait()
    for value in range(40, 60):
        sender.offer(batch(value))
    with gather(tmp_path, str(config), "--bind-acknowledged", address) as running:
        eventually(lambda: sender.tally.sent == 60)
        assert running.end() == 0
    sender.close(0)
    assert set(values(file.read_text().splitlines())) == set(range(60))


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "jobmeter", "gather", *words]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, check=False, timeout=PATIENCE_SECONDS
    )


def test_without_an_output_it_is_wrong_use(tmp_path: Path) -> None:
    for words in ((), ("--as-colmet",)):
        done = run(tmp_path, *words)
        assert done.returncode == 2
        assert "no output is chosen" in done.stderr


def test_an_address_that_is_taken_ends_it_with_a_sentence(tmp_path: Path) -> None:
    with gather(tmp_path, "--text", *FREE) as running:
        done = run(tmp_path, "--text", "--journal", "other", "--zeromq-bind-uri", running.address("plain"))
        assert done.returncode == 1
        assert "Address already in use" in done.stderr


def test_faults_of_its_file_are_told_with_their_place(tmp_path: Path) -> None:
    config = tmp_path / "gather.toml"
    config.write_text('[listen]\nplain = "5556"\n')
    done = run(tmp_path, str(config))
    assert done.returncode == 2
    assert f"{config}:2: listen.plain: '5556' is not tcp://HOST:PORT" in done.stderr
    config.write_text('[outputs.hdf6]\npath = "x"\n[outputs.text]\npaht = "y"\n')
    done = run(tmp_path, str(config))
    assert done.returncode == 2
    assert f"{config}:1: outputs.hdf6: there is no sinks.samples plugin" in done.stderr
    assert f"{config}:4: outputs.text.paht" in done.stderr


def test_keys_are_made_once(tmp_path: Path) -> None:
    assert run(tmp_path, "--make-keys", "gatherer.key").returncode == 0
    assert (tmp_path / "gatherer.key").stat().st_mode & 0o777 == 0o600
    done = run(tmp_path, "--make-keys", "gatherer.key")
    assert (done.returncode, "exists" in done.stderr) == (1, True)
