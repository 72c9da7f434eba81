"""Other processes: Python ones for tests of what several do at once, and what they need to be found and waited for."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).parent.parent

PATIENCE_SECONDS = 120.0
"""How long a test waits for what has to come. It is much, because only a failing test waits so long: on a machine that
other work slows down, nothing comes when it should."""


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs `code` with our packages in reach; its output is to be read with `communicate`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT / "src"), str(_ROOT)])}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


def free_port() -> int:
    """A port of loopback that nobody listens on now.

    It lies below those that the kernel gives to connections, so that none of them has it when it is used later.
    """
    given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    lowest, highest = 12_000, max(int(given.split()[0]), 20_000)
    while True:
        port = lowest + secrets.randbelow(highest - lowest)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def wait_until(fact: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return once `fact` holds; raise TimeoutError naming `what` when it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


def eventually(fact: Callable[[], object], what: str = "it") -> None:
    """Return as soon as `fact` holds; fail when it never does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < end, f"{what}: not so after {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether this process runs; one that has ended and waits for its parent to ask does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
