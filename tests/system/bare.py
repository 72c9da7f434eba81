"""Bare Debian roots: what is handed out is tried where nothing else is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
_PLAIN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "PYTHONPATH": ""}
"""Variables of a plain login: nothing of this process's Python may be found in a root."""

_ENTER = 'mount --rbind /proc "$0/proc" && mount --rbind /sys "$0/sys" && exec chroot "$0" "$@"'

BUILT_BY = "/usr/bin/python3"
"""Debian's own Python: the roots have the same."""


def ran(*words: str | Path, folder: Path | None = None, variables: Mapping[str, str] = {}) -> str:
    """What a command prints, with these further variables; it must end well."""
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **variables},
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, f"{words[0]}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def make_root(folder: Path, packages: Sequence[str]) -> Path:
    """A root of this machine's own release with the smallest base and these packages. Needs mmdebstrap."""
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    assert release is not None
    listed = Path("/etc/apt/sources.list.d/debian.sources")
    ran(
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        '--aptopt=Apt::Install-Recommends "false"',
        f"--include={','.join(packages)}",
        release[1],
        folder,
        listed if listed.exists() else "/etc/apt/sources.list",
    )
    return folder


def inside(root: Path, *words: str | Path) -> str:
    """What a command prints in the root, with mounts of its own, and processes and network of this machine."""
    return ran(*_within(root), *words, variables=_PLAIN)


def started_inside(root: Path, *words: str) -> subprocess.Popen[str]:
    """A command that goes on in the root, as the very process that is returned; its output can be read."""
    return subprocess.Popen(
        [*_within(root), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **_PLAIN},
    )


def lacks(*programs: str) -> list[str]:
    """Those that this machine has not."""
    return [name for name in programs if shutil.which(name) is None]


def _within(root: Path) -> list[str]:
    return ["unshare", "--mount", "/bin/sh", "-c", _ENTER, str(root)]
