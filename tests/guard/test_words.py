"""Words that may stand in no file: paths of the machine on which something was written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.guard.source import ROOT

FORBIDDEN = re.compile("|".join(["/" + "work/", r"\.\./" + "shared"]))
SKIPPED = frozenset(
    {".git", ".cache", "build", "dist", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__"}
)


def files(folder: Path) -> Iterator[Path]:
    """The files of the repository, without what tools leave in it."""
    for path in sorted(folder.iterdir()):
        if (
            path.name in SKIPPED
            or path.name.startswith(".venv")
            or path.name.endswith((".pyc", ".egg-info"))
            or path.name.startswith(".coverage")
        ):
            continue
        if path.is_dir() and not path.is_symlink():
            if not (path / "pyvenv.cfg").exists() and path.name != "jobmeter-data":
                yield from files(path)
        elif path.is_file():
            yield path


def mentions(text: str) -> list[str]:
    """The forbidden words in a text, each with its line."""
    return [
        f"line {number}: {match[0]}"
        for number, line in enumerate(text.splitlines(), 1)
        for match in FORBIDDEN.finditer(line)
    ]


def test_no_file_mentions_a_path_of_the_machine_it_was_written_on() -> None:
    found = {str(path.relative_to(ROOT)): mentions(path.read_text("utf-8", "replace")) for path in files(ROOT)}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_such_a_path_is_told() -> None:
    assert mentions("a\nsee /wo" + "rk/main or ../sha" + "red/x") == ["line 2: /wo" + "rk/", "line 2: ../sha" + "red"]
    assert mentions("network/x and workload") == []
