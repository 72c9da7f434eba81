"""The real `python-auditor` clients, installed once into a cache folder, and ours with their surface.

Each is driven in a process of its own.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / ".cache" / "clients"
DRIVER = Path(__file__).with_name("driver.py")
OLD, NEW = "0.6.3", "0.11.2"
OURS = "jobmeter"
"""`jobmeter.client.pyauditor`, which takes the place of the real one."""
VERSIONS = [OLD, NEW, OURS]
PATIENCE_SECONDS = 120.0


class ClientFault(Exception):  # noqa: N818 - what the client raised
    """The client raised; the text is the client's."""


def installed(version: str) -> Path:
    """The folder that holds this version of the client, installed by pip (or uv) when it is not there yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / version
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=CACHE) as fresh:
                _install(version, Path(fresh) / "packages")
                (Path(fresh) / "packages").rename(folder)
    return folder


def _install(version: str, target: Path) -> None:
    arguments = ["install", "--no-deps", "--target", str(target), f"python-auditor=={version}"]
    if importlib.util.find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    elif (uv := shutil.which("uv")) is not None:
        command = [uv, "pip", *arguments, "--python", sys.executable]
    else:
        pytest.fail(f"python-auditor {version} cannot be installed: there is neither pip nor uv")
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if ended.returncode != 0:
        pytest.fail(f"python-auditor {version} could not be installed by {' '.join(command)}:\n{ended.stderr}")


def _environment(version: str) -> dict[str, str]:
    if version == OURS:
        return {"PYTHONPATH": str(REPOSITORY / "src"), "PYAUDITOR": "jobmeter.client.pyauditor"}
    return {"PYTHONPATH": str(installed(version)), "PYAUDITOR": "pyauditor"}


class RealClient:
    """One client in its own process; `tls` is its certificate, key and authority.

    Methods are named as in `pyauditor`; a fault there is a ClientFault here.
    """

    def __init__(
        self,
        version: str,
        kind: str,
        port: int,
        *,
        database: Path | None = None,
        tls: tuple[Path, Path, Path] | None = None,
    ) -> None:
        self.version = version
        options: dict[str, Any] = {"port": port, "database_path": str(database)}
        if tls is not None:
            options["tls"] = [str(file) for file in tls]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the client
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVER), kind, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **_environment(version)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process, as `kill -9` does: nothing more is flushed, nothing is waited for."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _do(self, what: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()
        watchdog = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            self._errors.seek(0)
            pytest.fail(f"the client of {self.version} ended during {what}:\n{self._errors.read()[-4000:]}")
        outcome = json.loads(line)
        if "fault" in outcome:
            raise ClientFault(outcome["fault"])
        return outcome["answer"]

    def health_check(self) -> bool:
        return bool(self._do("health_check"))

    def add(self, record: dict[str, Any]) -> None:
        self._do("add", record=record)

    def bulk_insert(self, records: list[dict[str, Any]]) -> None:
        self._do("bulk_insert", records=records)

    def update(self, record: dict[str, Any]) -> None:
        self._do("update", record=record)

    def stop(self) -> None:
        """Ends the sending of a queued client."""
        self._do("stop")

    def get(self) -> list[dict[str, Any]]:
        return list(self._do("get"))

    def get_single_record(self, record_id: str) -> dict[str, Any]:
        return dict(self._do("get_single_record", record_id=record_id))

    def get_started_since(self, since: str) -> list[dict[str, Any]]:
        return list(self._do("get_started_since", since=since))

    def get_stopped_since(self, since: str) -> list[dict[str, Any]]:
        return list(self._do("get_stopped_since", since=since))

    def query(self, **query: Any) -> list[dict[str, Any]]:
        """Asks what the client's query builder makes of `query`."""
        return list(self._do("query", query=query))

    def query_text(self, text: str) -> list[dict[str, Any]]:
        """Asks with a query string written by hand."""
        return list(self._do("query", text=text))
