"""The real Colmet, installed once into an environment of its own. It needs Python 3.11: its node imports asyncore."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.process import PATIENCE_SECONDS

CACHE = Path(__file__).parents[2] / ".cache" / "colmet"
VERSION = "0.6.10"
PARTS = (f"colmet=={VERSION}", "tables==3.11.1", "pyzmq==27.0.0", "setuptools<81")


def python() -> str:
    """The interpreter of the environment with Colmet in it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / VERSION
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            _install(folder)
            (folder / "ready").touch()
    return str(folder / "bin" / "python")


def _install(folder: Path) -> None:
    base = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if base is None:
        pytest.skip("Colmet needs Python 3.11")
    shutil.rmtree(folder, ignore_errors=True)
    commands = [
        [base, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *PARTS],
    ]
    if (uv := shutil.which("uv")) is not None:
        commands = [
            [uv, "venv", "-q", "--python", base, str(folder)],
            [uv, "pip", "install", "-q", "--python", str(folder / "bin" / "python"), *PARTS],
        ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode != 0:
            pytest.fail(f"{' '.join(command)}:\n{done.stderr}")


def started(program: str, *words: str, cwd: Path) -> subprocess.Popen[str]:
    """`colmet-node` or `colmet-collector` with these options; its log goes to the file NAME.log in `cwd`."""
    folder = Path(python()).parent
    with (cwd / f"{program}.log").open("w") as log:
        return subprocess.Popen([python(), str(folder / program), *words], cwd=cwd, stdout=log, stderr=log, text=True)


def asked(code: str, *words: str) -> Any:
    """What code prints as JSON that runs with Colmet's libraries, PyTables among them."""
    done = subprocess.run(
        [python(), "-c", code, *words], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


TABLES = """
import json, sys, tables
def plain(value):
    return value.decode() if isinstance(value, bytes) else getattr(value, "item", lambda: value)()
with tables.open_file(sys.argv[1], "r") as file:
    found = {}
    for table in file.walk_nodes("/", "Table"):
        rows = []
        for row in table.iterrows():
            rows.append({name: plain(row[name]) for name in table.colnames})
        found[table._v_pathname] = {"rows": rows, "columns": table.colnames, "title": table.title,
                                    "version": int(table.attrs.backend_version), "filters": str(table.filters.complib)}
    print(json.dumps(found))
"""


def tables(file: Path) -> dict[str, dict[str, Any]]:
    """All tables of an HDF5 file, as PyTables reads them: rows, columns, title, version."""
    found: dict[str, dict[str, Any]] = asked(TABLES, str(file))
    return found
