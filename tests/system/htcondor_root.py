"""A Debian 13 under the repository's `.cache`, with HTCondor in it: Debian 12 has none.

Made once by mmdebstrap (about a minute) and kept. Nothing is mounted and nothing runs in it after it was made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.system.debian import Unavailable, install, mirror

ROOT = Path(__file__).parents[2] / ".cache" / "htcondor" / "root"
USERS = {"alice": 5001, "bob": 5002, "carol": 5003}
_TOOLS = ("mmdebstrap", "debian-archive-keyring", "util-linux")
_NEEDED = ("mmdebstrap", "unshare", "nsenter")
_PACKAGES = "ca-certificates,condor,passwd,procps"


def htcondor_root() -> Path:
    """The root, made now where it is missing. Raises Unavailable."""
    if os.geteuid() != 0:
        raise Unavailable("starting HTCondor's daemons needs root")
    if (ROOT / "usr/sbin/condor_master").exists():
        return ROOT
    install(_TOOLS, _NEEDED)
    made = ROOT.with_name(f"making-{os.getpid()}")
    made.parent.mkdir(parents=True, exist_ok=True)
    try:
        _run("mmdebstrap", *_options(), "trixie", str(made), mirror(), seconds=1800)
        for name, number in USERS.items():
            _run("chroot", str(made), "useradd", "-m", "-u", str(number), "-s", "/bin/sh", name, seconds=60)
        made.rename(ROOT)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return ROOT


def _options() -> list[str]:
    return [
        "--quiet",
        "--variant=apt",
        "--mode=root",
        "--components=main",
        f"--include={_PACKAGES}",
        '--aptopt=Apt::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale")),
        "--customize-hook=rm -rf $1/var/lib/apt/lists/* $1/var/cache/apt/*.bin",
    ]


def _run(*argv: str, seconds: float) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            argv,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Unavailable(f"{argv[0]}: {fault}") from None
    if done.returncode != 0:
        raise Unavailable(f"{argv[0]} ended with status {done.returncode}: {done.stderr[-500:]}")
