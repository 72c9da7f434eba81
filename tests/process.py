"""Other processes: Python ones for tests of what several do at once, and what they need to be found and waited for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs `code` with our packages in reach; its output is to be read with `communicate`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT / "src"), str(_ROOT)])}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(fact: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
    """Return once `fact` holds; raise TimeoutError naming `what` when it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)
