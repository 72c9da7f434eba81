"""Golden cases of finding jobs: the folders that real batch systems made, and the jobs that they hold."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.observe.machine_tree import host_of
from tests.observe.test_kernel_cases import NOW_NS, found

CASES = Path(__file__).parents[1] / "cases" / "jobs"


@pytest.mark.parametrize("case", sorted(case.name for case in CASES.iterdir()))
def test_the_folders_of_a_batch_system_hold_these_jobs(case: str, tmp_path: Path) -> None:
    host = host_of(CASES / case, tmp_path)
    for line in (CASES / case / "folders.txt").read_text().splitlines():
        (tmp_path / line.lstrip("/")).mkdir(parents=True, exist_ok=True)
    finder = found(host)
    finder.look(NOW_NS)
    jobs = [[job.identity.manager, job.identity.cluster, job.identity.job, dict(job.cgroups)] for job in finder.jobs]
    finder.close()
    expected = CASES / case / "expected.json"
    if os.environ.get("RECORD"):
        expected.write_text(json.dumps(jobs, indent=1) + "\n")
    assert jobs == json.loads(expected.read_text())
