"""Programs of Debian that system tests need: installed when they are missing, their services not started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POLICY = Path("/usr/sbin/policy-rc.d")


class Unavailable(Exception):  # noqa: N818 - the name says the fact
    """This machine cannot run what a test needs; the message says why."""


def missing(needed: Sequence[str]) -> list[str]:
    """Which of the commands, or files where there is a slash in the name, are not there."""
    return [name for name in needed if not (Path(name).exists() if "/" in name else shutil.which(name, path=PATH))]


def install(packages: Sequence[str], needed: Sequence[str]) -> None:
    """Install the packages if something of what is needed is missing. Raises Unavailable."""
    if not missing(needed):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Unavailable(f"{', '.join(missing(needed))} not found, and only root on Debian can install it")
    with _no_service_starts():
        _apt_get("update", seconds=600)
        options = ("--no-install-recommends", "-y", "-o", "DPkg::Lock::Timeout=600")
        said = _apt_get("install", *options, *packages, seconds=1800)
    if missing(needed):
        raise Unavailable(f"apt-get install failed: {said[-500:]}")


def mirror() -> str:
    """The mirror that this machine uses itself, where it is a Debian."""
    for file in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")):
        if file.is_file() and (
            found := re.search(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(https?://(?!snapshot)\S+)", file.read_text(), re.M)
        ):
            return found[1]
    return "http://deb.debian.org/debian"


def _apt_get(*words: str, seconds: float) -> str:
    done = subprocess.run(
        ["apt-get", "-qq", *words],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.stderr


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep maintainer scripts from starting daemons (Debian policy-rc.d), and leave the machine as it was."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
