"""The gatherer's output that sums: what it tells of jobs that ran again under their number."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.model.summary import JobSummary
from jobmeter.observe.host import SystemClock
from jobmeter.run.gatherer.summarizing import SummaryOutput

SECOND = 10**9
JOB = JobIdentity("slurm", "alpha", "4711")
CPU = Metric("cgroup_cpu_usage", "nanoseconds", Kind.COUNTER, "CPU time.")


def run_of(node: str, began: int) -> SampleBatch:
    """A run of ten seconds on one node, from its begin to its end."""
    samples = tuple(
        Sample("cgroup", node, JOB, (began + at) * SECOND, (CPU.name,), (at,), "", began * SECOND)
        for at in range(1, 11)
    )
    return SampleBatch(node, samples, (CPU,), (JobEnd(JOB, node, (began + 11) * SECOND),))


def test_a_job_that_ran_again_is_told_in_the_log_in_a_count_and_in_its_summary(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spool = Spool(tmp_path / "spool", SpoolSettings(), SystemClock())
    sums = SummaryOutput(tmp_path, spool, SystemClock(), silent_seconds=60, flush_seconds=0)
    for node, began in (("n1", 0), ("n2", 100)):
        sums.write(run_of(node, began))
        sums.flush()
    sums.write(run_of("n1", 0))  # the first run once more, late
    assert sums.own_counts == {"late_samples": 10, "jobs_ran_again": 1}
    assert "gather.ran_again job=slurm/alpha:4711 earlier=1" in caplog.text
    waiting = spool.due(10)
    assert [msgspec.json.decode(item.body, type=JobSummary).earlier for item in waiting] == [0, 1]
    spool.close()
