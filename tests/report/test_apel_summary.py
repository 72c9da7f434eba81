"""Summaries from the totals of a real store, against sums over the records by an independent computation."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jobmeter.contract import RecordStore
from jobmeter.model.record import Component, Record, Score
from jobmeter.report.apel.fields import ComponentField
from jobmeter.report.apel.plan import Unsummable, plan
from jobmeter.report.apel.rules import faults
from jobmeter.report.apel.settings import Config
from jobmeter.report.apel.summary import SiteSummary, jobs_by_site, summaries, unfit_jobs
from jobmeter.report.month import Month
from jobmeter.settings.fault import SettingsFaulty
from jobmeter.settings.load import load
from jobmeter.store.migrate import upgrade
from jobmeter.store.open import open_store

CASES = Path(__file__).parents[1] / "cases" / "apel"
MARCH = Month(2024, 3)
BEGIN = MARCH.period.start
NOW = datetime(2024, 4, 2, tzinfo=UTC)


def _config(name: str) -> Config:
    return load(Config, file=CASES / name / "settings.yml", environment={}, prefix=None).settings


OLDER, NEWER = _config("older"), _config("newer")


def job(  # noqa: PLR0917 - what varies
    number: int,
    site: str = "a1",
    user: str = "at1",
    cores: int = 8,
    cpu: int = 3600,
    score: float = 11.5,
    hours: float = 1.0,
    ended: timedelta = timedelta(days=2),
    **meta: str,
) -> Record:
    stop = BEGIN + ended
    scores = (Score("HEPscore23", score), Score("hepscore23", score))
    return Record(
        record_id=f"slurm-{number}",
        components=(
            Component("Cores", cores, scores),
            Component("TotalCPU", cpu, ()),
            Component("NNodes", 1, ()),
        ),
        start_time=stop - timedelta(hours=hours),
        stop_time=stop,
        meta={
            "site_id": (site,),
            "user_id": (user,),
            "headnode": ("ce1",),
            "collector_type": ("slurm",),
            **{key: (value,) for key, value in meta.items()},
        },
    )


def summed(store: RecordStore, config: Config = NEWER, month: Month = MARCH) -> dict[str, SiteSummary]:
    how = plan(config)
    return summaries(config, how, month, store.totals(how.sums_of(month.period)))


def read(text: str) -> dict[str, str]:
    """A block as its fields."""
    return dict(line.split(": ", 1) for line in text.splitlines() if line != "%%")


def test_a_summary_of_the_newer_kind_worked_by_hand(store: RecordStore) -> None:
    store.put([job(1), job(2, site="a2", hours=2, cpu=60), job(3, user="cm1"), job(4, site="elsewhere")])
    found = summed(store)
    assert found["SITE_B"] == SiteSummary((), (), 0, 0, 0, 0)
    cms, atlas = sorted(map(read, found["SITE_A"].blocks), key=lambda block: int(block["NumberOfJobs"]))
    assert (cms["VO"], cms["NumberOfJobs"]) == ("cms", "1")
    assert atlas == {
        "Site": "SITE_A",
        "Month": "3",
        "Year": "2024",
        "VO": "atlas",
        "SubmitHost": "ce1",
        "Infrastructure": "grid",
        "InfrastructureDescription": "jobmeter-ARC-slurm",
        "NodeCount": "1",
        "Processors": "8",
        "EarliestEndTime": str(int((BEGIN + timedelta(days=2)).timestamp())),
        "LatestEndTime": str(int((BEGIN + timedelta(days=2)).timestamp())),
        "WallDuration": "10800",
        "CpuDuration": "3660",
        "NormalisedWallDuration": "{HEPscore23: 124200}",
        "NormalisedCpuDuration": "{HEPscore23: 42090}",
        "NumberOfJobs": "2",
    }
    assert [read(text) for text in found["SITE_A"].sync] == [
        {"Site": "SITE_A", "SubmitHost": "ce1", "NumberOfJobs": "3", "Month": "3", "Year": "2024"}
    ]


def test_a_summary_of_the_older_kind_has_all_lines_and_plain_numbers(store: RecordStore) -> None:
    config = replace(OLDER, site=replace(OLDER.site, sites_to_report={"SITE_A": ("a1",)}))
    store.put([job(1, cpu=3_600_000, voms="/atlas/de/Role=production", subject="/DC=x/CN=ü")])
    (text,) = summed(store, config)["SITE_A"].blocks
    block = read(text)
    assert len(block) == 18
    assert block["GlobalUserName"] == r"/DC=x/CN=\C3\BC"
    assert (block["VO"], block["VOGroup"], block["VORole"]) == ("atlas", "/atlas", "Role=production")
    assert (block["CpuDuration"], block["NormalisedCpuDuration"]) == ("3600", "41400")
    assert faults(f"APEL-summary-job-message: v0.3\n{text}", NOW) == []


def test_the_month_is_that_of_the_stop_in_utc_with_its_first_moment_and_without_its_last(store: RecordStore) -> None:
    month = MARCH.period.stop - MARCH.period.start
    store.put([job(1, ended=timedelta(0)), job(2, ended=month - timedelta(microseconds=1)), job(3, ended=month)])
    (block,) = map(read, summed(store)["SITE_A"].blocks)
    assert block["NumberOfJobs"] == "2"
    assert block["EarliestEndTime"] == str(int(BEGIN.timestamp()))
    assert block["LatestEndTime"] == str(int(MARCH.period.stop.timestamp()) - 1)


def test_a_record_under_two_site_keys_counts_once(store: RecordStore) -> None:
    record = job(1, site="a1")
    store.put([replace(record, meta={**(record.meta or {}), "site": ("a2",)})])
    assert summed(store)["SITE_A"].jobs == 1


def test_groups_that_a_joined_text_would_mix_stay_apart(store: RecordStore) -> None:
    assert NEWER.summary_fields is not None
    fields = replace(NEWER.summary_fields, optional={"NodeCount": ComponentField("NNodes")})
    config = replace(NEWER, summary_fields=fields)
    one, other = job(1, cores=11), job(2, cores=1)
    many = replace(other, components=(*other.components[:2], Component("NNodes", 11, ())))
    store.put([one, many])
    found = [read(text) for text in summed(store, config)["SITE_A"].blocks]
    assert sorted((block["NodeCount"], block["Processors"]) for block in found) == [("1", "11"), ("11", "1")]


def test_a_job_that_lacks_something_is_left_out_listed_and_counted(store: RecordStore) -> None:
    whole = job(1)
    unscored = replace(job(2), components=(Component("Cores", 8, ()), *whole.components[1:]))
    no_cpu = replace(job(3), components=(whole.components[0],))
    store.put([whole, unscored, no_cpu, job(4, site="elsewhere")])
    how = plan(NEWER)
    assert summed(store)["SITE_A"].jobs == 1
    assert jobs_by_site(NEWER, store.totals(how.jobs(MARCH.period))) == {"SITE_A": 3, "SITE_B": 0}
    unfit = list(unfit_jobs(NEWER, how, store.totals(how.each_job(MARCH.period))))
    assert [(one.site, one.record_id, one.lacks) for one in unfit] == [
        ("SITE_A", "slurm-2", ("score HEPscore23 of the component Cores",)),
        ("SITE_A", "slurm-3", ("component TotalCPU",)),
    ]


def test_a_job_on_no_core_is_not_divided_by(store: RecordStore) -> None:
    store.put([job(1, cores=0), job(2)])
    found = summed(store)["SITE_A"]
    assert (found.jobs, found.unfit) == (1, 1)
    how = plan(NEWER)
    (unfit,) = unfit_jobs(NEWER, how, store.totals(how.each_job(MARCH.period)))
    assert (unfit.record_id, unfit.lacks) == ("slurm-1", ("amount of the component Cores, it is 0",))


def test_running_jobs_and_those_of_no_length_are_not_reported(store: RecordStore) -> None:
    store.put([replace(job(1), stop_time=None), job(2, hours=0), job(3)])
    assert summed(store)["SITE_A"].jobs == 1


users = st.sampled_from(["at1", "at2", "cm1", "x|1", "a'b"])
jobs = st.lists(
    st.builds(
        job,
        st.integers(0, 10**6),
        site=st.sampled_from(["a1", "a2", "b", "z"]),
        user=users,
        cores=st.sampled_from([1, 8, 11]),
        cpu=st.integers(0, 10**9),
        score=st.sampled_from([0.0, 0.1, 11.5, 12.345678]),
        hours=st.sampled_from([0.1, 1.0, 7.77]),
        ended=st.timedeltas(timedelta(0), timedelta(days=30)),
        subject=st.sampled_from(["s", "t\n%%", "ü"]),
    ),
    max_size=12,
    unique_by=lambda record: record.record_id,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(jobs)
def test_the_blocks_sum_up_to_the_records(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('s')}/records.db"
    upgrade(url)
    store = open_store(url)
    try:
        store.put(records)
        found = summed(store)
    finally:
        store.close()
    expected: Counter[str] = Counter()
    exact = Fraction(0)
    for record in records:
        if (record.meta or {})["site_id"][0] in ("a1", "a2"):
            cores, cpu, _ = record.components
            expected["jobs"] += 1
            expected["WallDuration"] += record.runtime_seconds or 0
            expected["CpuDuration"] += cpu.amount
            exact += Fraction(repr(cores.scores[0].value)) * (record.runtime_seconds or 0)
    blocks = [read(text) for text in found["SITE_A"].blocks]
    assert found["SITE_A"].jobs == sum(int(block["NumberOfJobs"]) for block in blocks) == expected["jobs"]
    for name in ("WallDuration", "CpuDuration"):
        assert sum(int(block[name]) for block in blocks) == expected[name]
    written = sum(int(block["NormalisedWallDuration"].split()[-1].rstrip("}")) for block in blocks)
    assert abs(written - exact) <= Fraction(len(blocks), 2)
    text = "APEL-normalised-summary-message: v0.4\n" + "".join(found["SITE_A"].blocks)
    assert not blocks or faults(text, NOW) == []
    assert sum(int(read(each)["NumberOfJobs"]) for each in found["SITE_A"].sync) == expected["jobs"]


def test_a_field_that_cannot_be_summed_is_told(tmp_path: Path) -> None:
    text = (CASES / "newer" / "settings.yml").read_text()
    file = tmp_path / "apel.yml"
    for old, new in (
        ("CpuDuration: !ComponentField\n      name: TotalCPU", "CpuDuration: !MetaField\n      name: cpu"),
        (
            "VO: !MetaField\n      name: user_id",
            "VO: !RecordField\n      name: record_id\n    Other: !MetaField\n      name: x",
        ),
    ):
        assert old in text
        file.write_text(text.replace(old, new, 1))
        with pytest.raises((Unsummable, SettingsFaulty)):
            plan(load(Config, file=file, environment={}, prefix=None).settings)
