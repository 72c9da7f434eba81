"""A private PostgreSQL to measure with: made in a temporary folder, durable as one that comes from a package."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

START_SECONDS = 60


@contextmanager
def private_server() -> Iterator[str]:
    """The address of a server whose commits are synced to disk; `{}` in it takes the name of a database."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="jobmeter-bench-pg-"))
    options: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        options |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    data = folder / "data"
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
    try:
        subprocess.run(initdb, check=True, **options)
        server = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), "-c", "listen_addresses="], **options
        )
        try:
            address = f"postgresql:///{{}}?host={folder}&user=postgres"
            _wait(server, address.format("postgres"))
            yield address
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(START_SECONDS)
    finally:
        shutil.rmtree(folder)


def create_database(address: str, name: str) -> str:
    """The address of a fresh, empty database of that server. `name` is plain letters."""
    with psycopg.connect(address.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return address.format(name)


def drop_database(address: str, name: str) -> None:
    """Remove a database and free its disk."""
    with psycopg.connect(address.format("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _binaries() -> Path:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    if folders:
        return folders[-1]
    found = shutil.which("initdb")
    if found is None:
        raise FileNotFoundError("PostgreSQL's server programs are missing, on Debian: apt-get install postgresql")
    return Path(found).resolve().parent


def _wait(server: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
