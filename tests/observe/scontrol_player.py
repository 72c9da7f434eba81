"""Makes a folder for `fake_scontrol.py` and the command that plays it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

_FAKE = Path(__file__).with_name("fake_scontrol.py")


def command(folder: Path, files: Mapping[str, str]) -> Path:
    """A command that plays these files, found at the returned path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    path = folder / "scontrol"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{_FAKE}" "{folder}" "$@"\n')
    path.chmod(0o755)
    return path


def calls(folder: Path) -> list[tuple[list[str], dict[str, str | None]]]:
    """The arguments and the fixed variables of every call, in order."""
    return [(argv, fixed) for argv, fixed in map(json.loads, (folder / "calls.txt").read_text().splitlines())]
