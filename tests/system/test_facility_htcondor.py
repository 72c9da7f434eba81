"""Documents of a real HTCondor pool with two schedds, compared with condor_q's own totals."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import wait_until
from tests.system.debian import Unavailable
from tests.system.facility import documents, of_kind
from tests.system.htcondor_pool import HtcondorPool
from tests.system.test_htcondor import shell

pytestmark = pytest.mark.system

QUEUES = (
    "-q", "all:", "-q", 'of alice:Owner=="alice"', "-q", "big:RequestCpus > 1 || (false ? true : false)",
    "-q", "none:Owner == \"nobody\"",
)  # fmt: skip


@pytest.fixture(scope="module")
def pool() -> Iterator[HtcondorPool]:
    try:
        running = HtcondorPool()
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def queued(pool: HtcondorPool) -> dict[str, str]:
    """The jobs by how they are: two run, one waits, one is held, and one has ended."""
    jobs = {
        "ended": pool.submit(shell("exit 3"), user="bob"),
        "running": pool.submit([*shell("exec sleep 600"), "request_cpus = 2"], user="alice"),
        "second": pool.submit(shell("exec sleep 600"), user="carol", schedd="second@"),
        "idle": pool.submit([*shell("true"), "requirements = False"], user="carol"),
        "held": pool.submit([*shell("true"), "hold = True"], user="alice"),
    }
    pool.wait_running(jobs["running"])
    pool.wait_running(jobs["second"], "second@")
    wait_until(lambda: not pool.status_of(jobs["ended"]), "the job has left the queue")
    return jobs


def _settings(folder: Path) -> list[str]:
    file = folder / "facility.toml"
    file.write_text('[batch]\nschedds = ["first@", "second@"]\n')
    return ["--config", str(file)]


def _environment(pool: HtcondorPool) -> dict[str, str]:
    return {"PATH": f"{pool.commands}:{os.environ['PATH']}"}


def test_queues_and_jobs_are_those_of_the_pool(pool: HtcondorPool, queued: dict[str, str], tmp_path: Path) -> None:
    code, found, told = documents(tmp_path, _environment(pool), "-b", *_settings(tmp_path), *QUEUES)
    assert code == 0, told
    queues = {document["queue"]: document for document in of_kind(found, "condorqueue")}
    assert list(queues) == ["all", "of alice", "big", "none"]
    assert {key: queues["all"][key] for key in ("idle", "running", "held", "allocated_cores")} == {
        "idle": 1, "running": 2, "held": 1, "allocated_cores": 3,
    }  # fmt: skip
    assert (queues["of alice"]["running"], queues["of alice"]["held"], queues["of alice"]["allocated_cores"]) == (
        1,
        1,
        2,
    )
    assert (queues["big"]["running"], queues["big"]["idle"]) == (1, 0)
    assert [queues["none"][key] for key in ("idle", "running", "held", "allocated_cores", "allocated_mem")] == [0] * 5
    argv = ("condor_q", "-allusers", "-totals", "-json", "-name")
    totals = [json.loads(pool.run(*argv, schedd).stdout)[0] for schedd in ("first@", "second@")]
    assert queues["all"]["running"] == sum(total["Running"] for total in totals)
    assert queues["all"]["idle"] == sum(total["Idle"] for total in totals)
    jobs = {(document["Id"], document["users"]): document for document in of_kind(found, "condorjob")}
    states = {document["state"] for document in jobs.values()}
    assert states == {"running", "idle", "held", "finished"}
    running = jobs[(f"{queued['running']}.0", "alice")]
    assert list(running) == ["token", "kind", "cluster", "users", "Id", "Runtime", "state"]
    assert running["Runtime"] > 0, "the run under way counts"
    finished = jobs[(f"{queued['ended']}.0", "bob")]
    assert list(finished) == ["token", "kind", "cluster", "state", "users", "Id", "Runtime"]
    if recorded := os.environ.get("JOBMETER_RECORD_FACILITY"):
        Path(recorded).mkdir(parents=True, exist_ok=True)
        (Path(recorded) / "documents.json").write_text(json.dumps(found, indent=1))


def test_a_finished_job_is_told_of_once(pool: HtcondorPool, queued: dict[str, str], tmp_path: Path) -> None:
    settings = _settings(tmp_path)

    def finished() -> list[str]:
        code, found, told = documents(tmp_path, _environment(pool), "-b", *settings)
        assert code == 0, told
        return [document["Id"] for document in of_kind(found, "condorjob") if document["state"] == "finished"]

    assert finished() == [f"{queued['ended']}.0"]
    assert finished() == []
    last = pool.submit(shell("true"), user="bob", schedd="second@")
    wait_until(lambda: not pool.status_of(last, "second@"), "the job has left the queue")
    assert finished() == [f"{last}.0"]
    assert finished() == []


def test_an_expression_that_makes_no_sense_costs_its_queue_only(
    pool: HtcondorPool, queued: dict[str, str], tmp_path: Path
) -> None:
    words = [*_settings(tmp_path), "-q", "all:", "-q", "odd:Owner == ((", "-q", 'alices:Owner=="alice"']
    code, found, told = documents(tmp_path, _environment(pool), "-b", *words)
    assert code == 1
    assert "queue odd" in told
    assert [document["queue"] for document in of_kind(found, "condorqueue")] == ["all", "alices"]
    assert of_kind(found, "condorjob")


def test_a_schedd_that_is_not_there_is_no_empty_queue(pool: HtcondorPool, tmp_path: Path) -> None:
    file = tmp_path / "facility.toml"
    file.write_text('[batch]\nschedds = ["nowhere@"]\n')
    code, found, told = documents(tmp_path, _environment(pool), "-b", "--config", str(file), "-q", "all:")
    assert code == 1
    assert found == []
    assert "the queue" in told
