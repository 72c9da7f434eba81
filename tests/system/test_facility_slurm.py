"""Documents of a real Slurm."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.process import wait_until
from tests.system.facility import documents, of_kind
from tests.system.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.system

QUEUES = ("-q", "all:", "-q", "debug:partition=debug", "-q", "batch:partition=batch")


def _settings(folder: Path) -> list[str]:
    file = folder / "facility.toml"
    file.write_text('[batch]\nsystem = "slurm"\ndetails = true\n')
    return ["--config", str(file)]


def test_queues_and_jobs_are_those_of_slurm(slurm: SlurmCluster, tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    ended = slurm.submit("true\n", "-p", "debug")
    failed = slurm.submit("exit 3\n", "-p", "debug")
    slurm.wait_idle()
    wait_until(lambda: "FAILED" in slurm.run("sacct", "-n", "-X", "-j", failed, "-o", "State").stdout, "it is stored")
    running = slurm.submit("sleep 600\n", "-p", "debug")
    held = slurm.submit("true\n", "-p", "batch", "-H", "--array=1-3")
    slurm.wait_running(running)
    try:
        code, found, told = documents(tmp_path, slurm.environment, "-b", *settings, *QUEUES)
        assert code == 0, told
        queues = {document["queue"]: document for document in of_kind(found, "condorqueue")}
        assert [queues["all"][key] for key in ("idle", "running", "held")] == [0, 1, 3]
        assert [queues["debug"][key] for key in ("idle", "running", "held")] == [0, 1, 0]
        assert [queues["batch"][key] for key in ("idle", "running", "held")] == [0, 0, 3]
        assert queues["debug"]["allocated_cores"] >= 1
        assert queues["debug"]["allocated_mem"] > 0
        jobs = {document["Id"]: document for document in of_kind(found, "condorjob")}
        assert jobs[running]["state"] == "running"
        assert jobs[running]["Runtime"] >= 0
        assert {jobs[f"{held}_{task}"]["state"] for task in (1, 2, 3)} == {"held"}
        assert {jobs[ended]["state"], jobs[failed]["state"]} == {"finished"}
        if recorded := os.environ.get("JOBMETER_RECORD_FACILITY"):
            Path(recorded).mkdir(parents=True, exist_ok=True)
            (Path(recorded) / "slurm.json").write_text(json.dumps(found, indent=1))
        code, found, told = documents(tmp_path, slurm.environment, "-b", *settings)
        assert code == 0, told
        assert not [document for document in of_kind(found, "condorjob") if document["state"] == "finished"]
    finally:
        slurm.run("scancel", running, held)
        slurm.wait_idle()


def test_a_slurm_that_does_not_answer_is_no_empty_queue(tmp_path: Path) -> None:
    nowhere = tmp_path / "slurm.conf"
    nowhere.write_text("ClusterName=x\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\nMessageTimeout=2\n")
    code, found, told = documents(tmp_path, {"SLURM_CONF": str(nowhere)}, "-b", *_settings(tmp_path), "-q", "all:")
    assert code == 1
    assert found == []
    assert "the queue" in told
