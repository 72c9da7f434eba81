"""Colmet's own cgroup folder, for its node: a hierarchy of version 1 where the kernel gives one to the test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest


@pytest.fixture
def jobs_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose sub-folders Colmet's node takes for jobs: in a named hierarchy, which needs no controller."""
    root = tmp_path / "cgroup"
    root.mkdir()
    options = "none,name=jobmetertest"
    mounted = subprocess.run(["mount", "-t", "cgroup", "-o", options, "cgroup", root], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a cgroup hierarchy")
    folder = root / f"oar{uuid4().hex[:8]}"
    folder.mkdir()
    yield folder
    for job in (*folder.iterdir(), folder):
        if job.is_dir():
            for task in (job / "tasks").read_text().split():
                (root / "tasks").write_text(task)
            job.rmdir()
    subprocess.run(["umount", root], check=True)
