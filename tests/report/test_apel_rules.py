"""What the receiver rejects, one rule at a time, by changing one line of a message that it takes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobmeter.report.apel.rules import faults
from tests.report.test_apel_message import NOW, SUMMARY

JOB = """\
APEL-individual-job-message: v0.3
Site: SITE_A
LocalJobId: slurm-1
WallDuration: 100
CpuDuration: 90
StartTime: 1709251200
EndTime: 2024-03-01T00:01:40Z
ServiceLevelType: hepscore23
ServiceLevel: 11.5
%%
"""
SYNC = "APEL-sync-message: v0.1\nSite: S\nSubmitHost: h\nNumberOfJobs: 1\nMonth: 3\nYear: 2024\n%%\n"


def _reasons(text: str, now: datetime = NOW) -> list[str]:
    return [fault.reason for fault in faults(text, now)]


@pytest.mark.parametrize(
    "text",
    [
        SUMMARY,
        JOB,
        SYNC,
        SYNC.replace("%%\n", ""),
        SYNC.replace("SubmitHost: h", "SubmitHost: None"),
        SYNC.replace("\n", "\r\n"),
    ],
)
def test_what_the_receiver_takes_has_no_fault(text: str) -> None:
    assert _reasons(text) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("APEL-normalised", "APEL-Normalised", "has no known header"),
        ("VO: atlas\n", "VO atlas\n", "has a line without a colon"),
        ("VO: atlas\n", "Colour: red\n", "Colour is not known"),
        ("VO: atlas\n", "VO: atlas\nVO: cms\n", "VO stands twice"),
        ("VO: atlas\n", "VO: é\n", "is not ASCII"),
        ("Site: SITE_A\n", "Site: null\n", "Site is missing"),
        ("NodeCount: 1\n", "NodeCount: None\n", "NodeCount is missing"),
        ("Processors: 8\n", "", "Processors is missing"),
        ("VO: atlas\n", f"VO: {'a' * 256}\n", "VO has 256 characters, 255 are allowed"),
        ("Infrastructure: grid", f"Infrastructure: {'g' * 21}", "Infrastructure has 21 characters, 20 are allowed"),
        ("CpuDuration: 36000\n", "CpuDuration: 36000.0\n", "CpuDuration is '36000.0', not a whole number"),
        ("WallDuration: 100801\n", "WallDuration: -1\n", "WallDuration is negative"),
        ("{HEPscore23: 662400}", "HEPscore23: 662400", "not in braces"),
        ("{HEPscore23: 662400}", "{HEPspecial: 662400}", "no known benchmark"),
        ("{HEPscore23: 662400}", "{si2k: 662400}", "several benchmarks"),
        ("LatestEndTime: 1710504001", "LatestEndTime: 1710504001.5", "neither a whole number"),
        ("LatestEndTime: 1710504001", "LatestEndTime: 1709251199", "not in the month 3"),
        ("LatestEndTime: 1710504001", "LatestEndTime: 1711929601", "not in the month 3"),
        ("EarliestEndTime: 1709251200", "EarliestEndTime: 1711000000", "is after LatestEndTime"),
        ("Month: 3\n", "Month: 13\n", "there is no month 13"),
        ("Month: 3\nYear: 2024", "Month: 3\nYear: 2025", "is in the future"),
    ],
)
def test_one_wrong_line_is_told(old: str, new: str, reason: str) -> None:
    assert SUMMARY.count(old) == 1
    assert any(reason in told for told in _reasons(SUMMARY.replace(old, new))), _reasons(SUMMARY.replace(old, new))


def test_the_end_of_the_month_belongs_to_it() -> None:
    assert _reasons(SUMMARY.replace("1710504001", "1711929600")) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("EndTime: 2024-03-01T00:01:40Z", "EndTime: 2024-02-01T00:01:40Z", "before StartTime"),
        ("EndTime: 2024-03-01T00:01:40Z", "EndTime: 2024-04-05T00:00:00Z", "in the future"),
        ("EndTime: 2024-03-01T00:01:40Z", "EndTime: 2024-03-01 00:01:40", "neither a whole number"),
        ("ServiceLevel: 11.5\n", "", "go together"),
        ("ServiceLevel: 11.5", "ServiceLevel: fast", "not a number"),
        ("hepscore23", "parsec", "not a known benchmark"),
        ("LocalJobId: slurm-1", "LocalJobId: None", "LocalJobId is missing"),
    ],
)
def test_one_wrong_line_of_a_job_is_told(old: str, new: str, reason: str) -> None:
    assert any(reason in told for told in _reasons(JOB.replace(old, new)))


def test_the_block_is_named_that_is_wrong() -> None:
    (fault,) = faults(SYNC + SYNC.partition("\n")[2].replace("NumberOfJobs: 1", "NumberOfJobs: 1.0"), NOW)
    assert (fault.block, fault.reason) == (1, "NumberOfJobs is '1.0', not a whole number")


def test_a_time_that_no_calendar_has_is_told() -> None:
    assert any("neither" in told for told in _reasons(JOB.replace("1709251200", "9" * 30), datetime.now(UTC)))
