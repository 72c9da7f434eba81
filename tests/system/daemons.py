"""Daemons that a test starts in the background, and ends by their process ids."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path


class Daemons:
    """Daemons that run in `folder` and log there, each into NAME.out."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environment = environment
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *argv: str) -> subprocess.Popen[bytes]:
        with self.log_of(name).open("ab") as output:
            process = subprocess.Popen(
                argv,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def log_of(self, name: str) -> Path:
        return self._folder / f"{name}.out"

    def all_run(self) -> bool:
        """Whether there are some, and none has ended."""
        return bool(self._started) and all(process.poll() is None for process in self._started)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ask it to end, and end it if it does not in half a minute."""
        if process in self._started:
            self._started.remove(process)
        if process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end_all(self) -> None:
        """End the newest first."""
        while self._started:
            self.end(self._started[-1])
