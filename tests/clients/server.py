"""A real `jobmeter serve` in a process of its own, for tests that need one to stop, die and come back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.process import PATIENCE_SECONDS, eventually, free_port

REPOSITORY = Path(__file__).parents[2]


class LiveServer:
    """`address` and `port` stay the same over restarts, and so does the data."""

    address = "127.0.0.1"

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.data = folder / "data"
        self._output = folder / "server.out"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address that a client would be given."""
        return f"http://{self.address}:{self.port}"

    def start(self) -> None:
        """Returns when the server has said that it is ready."""
        self._output.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "jobmeter", "serve", "--host", self.address, "--port", str(self.port)]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--data", str(self.data), *self._options],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "PYTHONUNBUFFERED": "1"},
            )
        eventually(self._is_ready, f"{' '.join(command)} is ready")

    def _is_ready(self) -> bool:
        assert self._process is not None
        said = self._output.read_text(errors="replace")
        if self._process.poll() is not None:
            pytest.fail(f"the server ended with status {self._process.returncode} before it was ready:\n{said}")
        return any(f":{self.port}" in line for line in said.splitlines())

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends the server; its exit status."""
        assert self._process is not None
        self._process.send_signal(how)
        status = self._process.wait(PATIENCE_SECONDS)
        self._process = None
        return status

    def restart(self) -> None:
        """Stops as an operator does, and starts again with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Ends what runs."""
        if self._process is not None:
            self.stop(signal.SIGKILL)

    def records(self, query: str = "") -> list[dict[str, Any]]:
        """What `GET /records` answers."""
        with urllib.request.urlopen(f"{self.url}/records?{query}", timeout=PATIENCE_SECONDS) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def letters(self) -> list[dict[str, Any]]:
        """What `GET /v2/dead-letters` answers."""
        with urllib.request.urlopen(f"{self.url}/v2/dead-letters?limit=100", timeout=PATIENCE_SECONDS) as answer:
            return list(json.loads(answer.read()))


@contextmanager
def live(folder: Path, options: Sequence[str] = ()) -> Iterator[LiveServer]:
    """A server that runs until the block ends."""
    server = LiveServer(folder, options)
    server.start()
    try:
        yield server
    finally:
        server.close()
