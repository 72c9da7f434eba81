"""The command `jobmeter facility` against real sources, its documents as values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SRC = Path(__file__).parents[2] / "src"
Document = dict[str, Any]


def documents(folder: Path, environment: dict[str, str], *words: str) -> tuple[int, list[Document], str]:
    """Exit code, the documents that one run with `-d` writes, and what it logs. Places are kept in the folder.

    They are given file by file, those of a file in the order in which they were written.
    """
    files = folder / "files"
    files.mkdir(exist_ok=True)
    for file in files.iterdir():
        file.unlink()
    done = subprocess.run(
        [sys.executable, "-m", "jobmeter", "facility", "-d", *words],
        env={**os.environ, **environment, "PYTHONPATH": str(SRC), "STATE_DIRECTORY": str(folder)},
        cwd=files,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = [document for file in sorted(files.iterdir()) for document in decoded(file)]
    return done.returncode, found, done.stderr


def decoded(file: Path) -> list[Document]:
    """The documents of a file that has nothing between them."""
    text = file.read_text()
    found, at = [], 0
    while at < len(text):
        document, at = json.JSONDecoder().raw_decode(text, at)
        found.append(document)
    return found


def of_kind(found: list[Document], kind: str) -> list[Document]:
    return [document for document in found if document["kind"] == kind]
