"""The page of a job: its record, what was changed, and its samples as tables and files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.record import microseconds
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.model.summary import JobSummary, MetricSummary
from jobmeter.observe.groups.files import METRICS
from jobmeter.observe.kernel import commands
from jobmeter.serve.joined import JoinRule, jobs_named
from jobmeter.serve.table import Beside
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.open import open_store
from jobmeter.store.samples.open import SampleFolder
from jobmeter.store.summaries import Summaries
from tests.serve.live import FixedClock, Live
from tests.serve.pages.given import HOSTILE, facility, job, link, rows, seen, tags
from tests.store_samples.given import SetClock

POWER = Metric("ipmi_power", "watts", Kind.GAUGE, "Power.")
NAMES = ("cgroup_cpu_usage", "cgroup_memory_current")


def measured(number: int) -> SampleBatch:
    """An hour of two nodes: one and a half core, and a node that takes 200 W."""
    begin = microseconds(job(number).start_time) * 1000
    identity = JobIdentity("slurm", "c1", str(number))
    samples = []
    for second in range(0, 3600, 10):
        time = begin + second * 10**9
        for node, cores in (("n1", 1.0), ("n2", 0.5)):
            values = (int(second * cores * 1e9), 2**30)
            samples.append(Sample("cgroup", node, identity, time, NAMES, values))
            names = tuple(metric.name for metric in commands.METRICS)
            for command, part in ((HOSTILE, 0.25), ("=cmd()", 0.125)):
                told = (int(second * cores * 100 * part), 2**20, 3)
                samples.append(Sample("commands", node, identity, time, names, told, command))
        samples.append(Sample("ipmi", "n1", None, time, ("ipmi_power",), (200,), "", None, (identity,)))
    return SampleBatch("n1", tuple(samples), (*METRICS, *commands.METRICS, POWER))


def again(number: int) -> Iterator[Sample]:
    """The processor time of the same job once more, as another program on its nodes has measured it."""
    for sample in measured(number).samples:
        if sample.source == "cgroup":
            yield replace(sample, metrics=NAMES[:1], values=sample.values[:1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("job")
    samples = SampleFolder(folder / "samples", SampleBounds(), SetClock(microseconds(FixedClock().now()) * 1000))
    for number in (1, 2):
        samples.sink().write(measured(number))
    samples.sink().write(SampleBatch("n1", tuple(again(2)), METRICS))
    samples.sink().flush()
    with facility(folder, [job(number) for number in range(4)], Beside(samples)) as running:
        yield running
    samples.close()


def test_the_record_stands_there_with_units_and_sentences(server: Live) -> None:
    answer = seen(server, "/job/slurm-2")
    assert answer.status == 200
    assert ["TotalCPU", "3,600", "seconds", "1 h", "–"] in rows(answer)  # noqa: RUF001
    text = answer.body.decode()
    assert "It used 50 % of its processors" in text
    assert "<script>alert" not in text
    assert tags(answer).count("script") == 2


def test_samples_are_tables_without_a_script_and_files(server: Live) -> None:
    answer = seen(server, "/job/slurm-1")
    text = answer.body.decode()
    assert "Processor <small>cores</small>" in text
    assert any(row[1:] == ["1.00 cores", "0.50 cores"] for row in rows(answer))
    assert any(row[1:] == ["1.0 GiB", "1.0 GiB"] for row in rows(answer))
    assert any(row[1:] == ["200 W"] for row in rows(answer))
    assert ["n1", "59 min 50 s", "67 %"] in rows(answer)
    file = seen(server, link(answer, "CSV"))
    assert file.status == 200
    assert file.body.decode().count("cgroup_cpu_usage") > 300


def test_what_two_programs_have_measured_counts_once(server: Live) -> None:
    found = rows(seen(server, "/job/slurm-2"))
    assert any(row[1:] == ["1.00 cores", "0.50 cores"] for row in found)
    assert ["n1", "59 min 50 s", "67 %"] in found


def test_the_share_of_each_command_stands_there_and_what_nobody_saw(server: Live) -> None:
    answer = seen(server, "/job/slurm-1")
    found = rows(answer)
    assert [HOSTILE, "22 min 26 s", "37 %", "1.0 GiB"] in found
    assert ["=cmd()", "11 min 13 s", "19 %", "1.0 GiB"] in found
    assert ["not seen", "26 min 21 s", "44 %", "–"] in found  # noqa: RUF001
    assert "<script>alert" not in answer.body.decode()
    file = seen(server, link(answer, "CSV", " of the commands"))
    assert file.status == 200
    assert "'=cmd()" in file.body.decode()
    assert ",=cmd()" not in file.body.decode()


def test_a_reader_of_one_site_sees_the_samples_of_its_jobs_and_none_of_nodes(server: Live) -> None:
    text = seen(server, "/job/slurm-1", "site").body.decode()
    assert "Processor <small>cores</small>" in text
    assert "Power of nodes" not in text


def test_a_job_without_samples_says_so(server: Live) -> None:
    assert "No samples of this job are here" in seen(server, "/job/slurm-3").body.decode()


@pytest.mark.parametrize("path", ["/job/none", "/job/%00", "/job/%ff", "/job/..%2f..%2fetc%2fpasswd"])
def test_what_is_not_there_is_a_page_of_its_own(server: Live, path: str) -> None:
    assert seen(server, path).status == 404


def test_changes_are_shown_with_who_why_and_what(tmp_path: Path) -> None:
    with facility(tmp_path, [job(1)]) as running:
        changed = {"record": replace(job(1), components=job(1).components[:2]), "why": HOSTILE}
        headers = {"authorization": "Bearer all", "content-type": "application/json"}
        assert running.post("/v2/records/slurm-1/corrections", changed, headers).status == 200
        answer = seen(running, "/job/slurm-1")
        assert ["components.Energy.amount", "3600000", "–"] in rows(answer)  # noqa: RUF001
        assert "<script>alert" not in answer.body.decode()
        assert running.post("/v2/records/slurm-1/withdrawal", {"why": "twice"}, headers).status == 200
        gone = seen(running, "/job/slurm-1")
        assert gone.status == 200
        assert '<span class="state bad">withdrawn</span>' in gone.body.decode()
        assert seen(running, "/job/slurm-1", "site").status == 200


def test_the_summary_stands_there_with_units(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'jobs.db'}"
    open_store(address, migrate=True).close()
    summaries = Summaries(address)
    metric = MetricSummary("cgroup_cpu_usage", "nanoseconds", Kind.COUNTER, 10, mean=1.5e9, max=2e9, total=5.4e12)
    identity = JobIdentity("slurm", "c1", "1")
    summaries.put([(JobSummary(identity, ("n1",), 0, 10**9, 10, 3600.0, 1800.0, True, (metric,)), "slurm-1")])
    with facility(tmp_path, [job(1)], Beside(None, summaries)) as running:
        answer = seen(running, "/job/slurm-1")
        assert ["cgroup_cpu_usage", "1 h 30 min", "1.50", "–", "2.00", "0"] in rows(answer)  # noqa: RUF001
        assert "They cover 50 % of the time" in answer.body.decode()
    summaries.close()


def test_a_record_id_tells_the_job_that_it_is_of() -> None:
    rules = (JoinRule("slurm", "slurm-{job}"), JoinRule("oar", "{cluster}:{job}:{cluster}:{run}"))
    assert list(jobs_named("slurm-4711", rules)) == [{"manager": "slurm", "job": "4711"}]
    assert list(jobs_named("g:7:g:0", rules)) == [{"manager": "oar", "cluster": "g", "job": "7", "run": "0"}]
    assert list(jobs_named("g:7:h:0", rules)) == []
    assert list(jobs_named("other-1", rules)) == []
