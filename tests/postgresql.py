"""A PostgreSQL of the tests' own: made by initdb in a temporary folder, reached through a socket file there."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from jobmeter.store.migrate import upgrade

TEMPLATE = "jobmeter_template"
START_SECONDS = 60
_HELD = "pre-existing shared memory block"


class PostgresqlMissing(Exception):  # noqa: N818 - the name says the fact
    """The tests need PostgreSQL 13 or newer on this machine; Debian: apt-get install postgresql."""


def folder_of_binaries(debian: Path = Path("/usr/lib/postgresql")) -> Path:
    """Where initdb and postgres are: the newest of Debian's folders, else the search path."""

    def version(folder: Path) -> float:
        name = folder.parent.name
        return float(name) if name.replace(".", "", 1).isdigit() else 0.0

    for folder in sorted(debian.glob("*/bin"), key=version, reverse=True):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    found = shutil.which("initdb")
    if found is None or not (Path(found).resolve().parent / "postgres").exists():
        raise PostgresqlMissing(
            "no initdb and postgres in /usr/lib/postgresql/*/bin or on PATH: install PostgreSQL 13 or newer "
            "(Debian: apt-get install postgresql)"
        )
    return Path(found).resolve().parent


class PrivatePostgresql:
    """A server that may be stopped and started again. Its data does not survive a power cut, nor the tests."""

    def __init__(self) -> None:
        self._binaries = folder_of_binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="jobmeter-pg-"))
        self._names = count()
        self._server: subprocess.Popen[bytes] | None = None
        # The server refuses to run as root.
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._run(
            "initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        self.start()
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        upgrade(self.url(TEMPLATE))

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def url(self, database: str) -> str:
        """The libpq address of a database of this server."""
        return f"postgresql:///{database}?host={self._folder}&user=postgres"

    def new_database(self, *, empty: bool = False) -> str:
        """The address of a fresh database with the present schema, or without any tables."""
        name = f"test_{next(self._names)}"
        template = "template0" if empty else TEMPLATE
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def start(self) -> None:
        """Start the server and return when it answers."""
        settings = ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "listen_addresses="]
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-k", str(self._folder)]
        for setting in settings:
            command += ["-c", setting]
        deadline = time.monotonic() + START_SECONDS
        while not self._answers_after(command, deadline):
            # Of a server that was killed, a child may hold the shared memory for a moment longer.
            if time.monotonic() > deadline or _HELD not in self._log_end():
                raise RuntimeError(self._log_end())
            time.sleep(0.1)

    def _answers_after(self, command: list[str], deadline: float) -> bool:
        """Start `command`, and wait until it answers (True) or ends (False)."""
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, **self._as_user())
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    return False
                time.sleep(0.02)
            else:
                return True

    def _log_end(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-2000:]

    def stop(self, *, at_once: bool = False) -> None:
        """Stop the server, ending all connections; `at_once` is as good as a crash."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
            self._server.wait()
            self._server = None

    def kill(self) -> None:
        """End every process of the server as `kill -9` does."""
        if self._server is not None:
            self._signal_all(signal.SIGKILL)
            self._server.wait()
            self._server = None

    def suspend(self) -> None:
        """Let no process of the server run until `resume`: connected, but silent."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """The end of `suspend`."""
        self._signal_all(signal.SIGCONT)

    def remove(self) -> None:
        """Stop the server and delete everything."""
        self.stop(at_once=True)
        shutil.rmtree(self._folder)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._server is not None
        parent = self._server.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for process in [parent, *map(int, children)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(self._binaries / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_user())
        if done.returncode != 0:
            raise RuntimeError(f"{name} failed: {done.stderr}")

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {"cwd": self._folder}
        ids: dict[str, Any] = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return {"cwd": self._folder, "env": {"PATH": os.environ["PATH"], "HOME": str(self._folder)}, **ids}
