"""Jobs in sentences: recorded situations, and any record whatever."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind
from jobmeter.model.record import AMOUNT_MAX, Component, Record, Score
from jobmeter.model.summary import EnergySource, JobSummary, MetricSummary
from jobmeter.report.why.advice import flag_for_memory, flag_for_time, rounded_up
from jobmeter.report.why.facts import facts_of
from jobmeter.report.why.job import Report, explain
from jobmeter.report.why.names import _TABLE, ENERGY_SOURCES, LIMITS, QUANTITIES, SUBMITTED, Names
from jobmeter.report.why.several import WORST, Several
from jobmeter.wire.auditor import decode_record
from tests.given import record

CASES = Path(__file__).parents[1] / "cases" / "why"


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_what_is_said_of_a_recorded_job(case: str) -> None:
    folder = CASES / case
    given_record = decode_record((folder / "record.json").read_bytes())
    file = folder / "summary.json"
    summary = msgspec.json.decode(file.read_bytes(), type=JobSummary) if file.exists() else None
    said = [statement.text for statement in explain(facts_of(given_record, summary), 0.4).statements]
    assert said == (folder / "expected.txt").read_text().splitlines()


_NAMES = sorted({source.name for sources in _TABLE.values() for source in sources})
_KEYS = sorted({*SUBMITTED, *LIMITS, *ENERGY_SOURCES, "collector_type", "time_unit", "user_id", "site_id", "group_id"})
_TEXTS = st.one_of(
    st.text(min_size=1, max_size=20),
    st.sampled_from(["slurm", "oar", "htcondor", "kubernetes", "milliseconds", "1-02:03:04", "99999999999", "rapl"]),
    st.sampled_from(["2024-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "{wall} 7"]),
)
_MOMENTS = st.datetimes(timezones=st.sampled_from([UTC]))


@st.composite
def records(draw: st.DrawFn) -> Record:
    start, stop = draw(_MOMENTS), draw(st.none() | _MOMENTS)
    amounts = st.one_of(st.integers(0, AMOUNT_MAX), st.sampled_from([0, 1, AMOUNT_MAX]))
    names = st.sampled_from(_NAMES) | st.text(min_size=1, max_size=5)
    components = draw(st.lists(st.builds(Component, names, amounts, st.just((Score("s", 1.0),))), max_size=12))
    keys = st.sampled_from(_KEYS) | st.text(min_size=1, max_size=5)
    meta = draw(st.none() | st.dictionaries(keys, st.lists(_TEXTS, max_size=3).map(tuple), max_size=8))
    return Record(draw(_TEXTS), tuple(components), start, meta, stop)


@st.composite
def summaries(draw: st.DrawFn) -> JobSummary:
    numbers = st.none() | st.floats()
    names = st.sampled_from(["cgroup_cpu_usage", "cgroup_memory_peak", "jobproc_vmrss", "cgroup_io_read_bytes"])
    metrics = draw(
        st.lists(
            st.builds(lambda n, t, p: MetricSummary(n, "", Kind.GAUGE, 1, total=t, peak=p), names, numbers, numbers)
        )
    )
    job = JobIdentity("slurm", "", "1")
    joules, energy = draw(numbers), draw(st.sampled_from(EnergySource))
    return JobSummary(job, ("n",), 0, 1, 1, 1.0, 1.0, True, tuple(metrics), joules, energy)


def check(report: Report) -> None:
    """Every number of a sentence stands in its figures, and nothing in them is no number."""
    for statement in report.statements:
        rest = statement.text
        for figure in sorted(statement.figures.values(), key=lambda each: -len(each.shown)):
            rest = rest.replace(figure.shown, "")
        assert not re.search(r"\d", rest), statement
        assert statement.known or not statement.figures
        for figure in statement.figures.values():
            assert figure.value == figure.value, figure
    msgspec.json.encode(report.statements)


@given(records(), st.none() | summaries(), st.none() | st.floats(0, 999))
def test_any_record_is_told_and_no_number_is_without_its_figure(
    one: Record, summary: JobSummary | None, co2: float | None
) -> None:
    check(explain(facts_of(one, summary), co2))


@given(st.lists(records(), min_size=1, max_size=15))
def test_any_set_of_records_is_told_with_its_figures(many: list[Record]) -> None:
    several = Several()
    for one in many:
        several.add(facts_of(one))
    check(several.report(0.4))


def test_what_is_not_there_is_said_to_be_unknown_and_never_zero() -> None:
    report = explain(facts_of(record(components=())))
    unknown = {statement.topic for statement in report.statements if not statement.known}
    assert unknown == {"wait", "cpu", "memory", "gpu", "io", "energy", "waste"}
    facts = report.jobs[0]
    assert [facts.cores, facts.cpu_seconds, facts.joules, facts.cpu_efficiency, facts.wasted_core_seconds] == [None] * 5


def test_a_zero_that_is_there_is_a_zero() -> None:
    facts = facts_of(record(stop=100, components=(("Cores", 4), ("TotalCPU", 0), ("Energy", 0))))
    assert (facts.cpu_efficiency, facts.wasted_core_seconds, facts.joules) == (0.0, 400.0, 0.0)


@pytest.mark.parametrize("peak", [float("inf"), float("nan"), 1.7e308, -1.0])
def test_what_nobody_can_have_measured_is_not_known(peak: float) -> None:
    metric = MetricSummary("cgroup_memory_peak", "bytes", Kind.GAUGE, 1, total=None, peak=peak)
    job = JobIdentity("slurm", "", "1")
    summary = JobSummary(job, ("n",), 0, 1, 1, 1.0, 1.0, True, (metric,), peak, EnergySource.IPMI)
    facts = facts_of(record(stop=3600), summary)
    assert (facts.memory_peak_bytes, facts.joules) == (None, None)


def test_a_submission_after_the_start_is_no_waiting() -> None:
    assert facts_of(record(start=100, stop=200, meta={"submit_time": ("150",)})).wait_seconds is None
    assert facts_of(record(start=100, stop=200, meta={"submit_time": ("40",)})).wait_seconds == 60


def test_a_facilitys_own_names_come_first() -> None:
    one = record(stop=100, components=(("Cores", 2), ("Kerne", 8)))
    assert facts_of(one).cores == 2
    assert facts_of(one, None, Names({"cores": "Kerne"})).cores == 8


@pytest.mark.parametrize(("told", "counts"), [(1, 1.6), (2, 1.6), (3, 3)])
def test_samples_are_finer_than_the_whole_seconds_of_a_record_that_says_no_more(told: int, counts: float) -> None:
    used = MetricSummary("cgroup_cpu_usage", "nanoseconds", Kind.COUNTER, 2, total=1.6e9)
    summary = JobSummary(JobIdentity("run", "", "1"), ("n",), 0, 2, 2, 2.0, 2.0, True, (used,))
    one = record(components=(("Cores", 2), ("TotalCPU", told)))
    assert facts_of(one, summary).cpu_seconds == pytest.approx(counts)


def test_a_name_of_kubernetes_means_nothing_elsewhere() -> None:
    components = (("memory", 5), ("cpu", 7))
    assert facts_of(record(components=components)).cpu_seconds is None
    assert facts_of(record(meta={"collector_type": ("kubernetes",)}, components=components)).cpu_seconds == 7


def test_all_quantities_have_a_unit_and_somewhere_to_look() -> None:
    assert set(QUANTITIES) == set(_TABLE)


@pytest.mark.parametrize("used", [1, 2**20, 64 * 2**20, 10**9, 4 * 2**30, 10**12])
def test_the_memory_that_is_advised_is_enough_and_not_far_more(used: int) -> None:
    assert used <= rounded_up(used) <= max(used * 1.3, 64 * 2**20 + used)


def test_flags_are_those_of_the_batch_system() -> None:
    assert flag_for_memory("slurm", 3 * 2**30) == "--mem=3G"
    assert flag_for_memory("htcondor", 192 * 2**20) == "request_memory = 192"
    assert flag_for_memory("kubernetes", 192 * 2**20) == "resources.requests.memory: 192Mi"
    assert flag_for_memory("oar", 2**30) is None
    assert flag_for_time("oar", 3900) == "oarsub -l walltime=01:05:00"


def test_a_short_job_gets_no_advice() -> None:
    components = (("Cores", 8), ("TotalCPU", 1))
    topics = [each.topic for each in explain(facts_of(record(stop=59, components=components))).statements]
    assert "advice" not in topics
    topics = [each.topic for each in explain(facts_of(record(stop=61, components=components))).statements]
    assert "advice" in topics


def test_the_worst_are_those_that_left_most_unused() -> None:
    several = Several()
    for place in range(30):
        several.add(facts_of(record(f"r{place}", stop=100, components=(("Cores", place), ("TotalCPU", 0)))))
    worst = several.report().jobs
    assert [facts.record_id for facts in worst] == [f"r{place}" for place in range(29, 29 - WORST, -1)]


def test_sums_of_several_jobs_leave_out_what_is_not_known() -> None:
    several = Several()
    several.add(facts_of(record("a", stop=3600, components=(("Cores", 2), ("TotalCPU", 3600)))))
    several.add(facts_of(record("b", stop=3600, components=(("Cores", 100),))))
    texts = [statement.text for statement in several.report().statements]
    assert "They held 102 core hours." in texts
    assert "Of 2 core hours they used 1 core hour, 50 %; known of 1 job." in texts
    assert "Not used: 1 core hour; known of 1 job." in texts


def _of_array(number: int, used: int, wall: int = 3600, cores: int = 8, peak: int = 2**30, **meta: str) -> Record:
    components = (("Cores", cores), ("TotalCPU", used), ("ReqMem", 16384), ("MaxRSS", peak))
    texts = {"collector_type": "slurm", "time_limit": "24:00:00", **meta}
    told: dict[str, tuple[str, ...]] = {key: (text,) for key, text in texts.items()}
    return record(f"a-{number}", stop=wall, components=components, meta=told)


def _said_of(*many: Record) -> list[str]:
    several = Several()
    for each in many:
        several.add(facts_of(each))
    return [each.text for each in several.report().statements if each.topic in {"advice", "worst"}]


def test_one_request_is_advised_that_is_enough_for_the_largest_of_many() -> None:
    assert _said_of(_of_array(1, 3600), _of_array(2, 7200, wall=7200, peak=3 * 2**30)) == [
        "Enough would have been fewer cores for 2 jobs, less memory for 2 jobs, a shorter time limit for 2 jobs.",
        "The busiest of them kept 1 core busy on average. Enough for each of them: 1 core: --cpus-per-task=1.",
        "The largest of them had a peak of 3 GiB of memory. Enough for each of them: 3.62 GiB: --mem=3712M."
        " What several processes had together is not known, so go down step by step.",
        "The longest of them ran 2 h. Enough for each of them: 2 h 30 min: --time=02:30:00.",
        "“a-2” left 14 core hours unused, it used 12 % of its processors; enough: 1 core, --cpus-per-task=1.",
        "“a-1” left 7 core hours unused, it used 12 % of its processors; enough: 1 core, --cpus-per-task=1.",
    ]


def test_nothing_is_advised_to_all_where_one_needed_what_it_had_or_did_not_tell() -> None:
    busy = _of_array(2, 8 * 3600)
    assert not any("The busiest" in text for text in _said_of(_of_array(1, 3600), busy))
    silent = record("a-3", stop=3600, meta={"collector_type": ("slurm",)})
    assert not any("Enough for each" in text for text in _said_of(_of_array(1, 3600), silent))
    other = _of_array(4, 3600, collector_type="oar")
    assert not any("Enough for each" in text for text in _said_of(_of_array(1, 3600), other))
    spread = record("a-5", stop=3600, components=(("Cores", 8), ("NNodes", 2), ("TotalCPU", 1)))
    assert _said_of(spread) == ["“a-5” left 8.00 core hours unused, it used 0.003 % of its processors."]


def test_a_job_that_held_no_core_is_said_to_have_held_none() -> None:
    idle = record(stop=3600, components=(("Cores", 0), ("TotalCPU", 0)))
    texts = [each.text for each in explain(facts_of(idle)).statements]
    assert "It used 0 core hours of processor time and held 0 core hours." in texts


def test_hostile_names_are_shown_as_text() -> None:
    one = Record("a\x1b[31m{wall}\n9", (), datetime(2024, 1, 1, tzinfo=UTC), None, None)
    text = explain(facts_of(one)).statements[0].text
    assert text.isprintable()
    assert "{wall}" in text


def test_a_moment_at_the_edge_of_time_is_told() -> None:
    edge = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
    check(explain(facts_of(Record("x", (), edge, None, edge))))
