"""The source: what is asked, what is refused, and that no text of a user's is taken for a fact."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from jobmeter.contract import JobBatch, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.model.record import Component, Score
from jobmeter.observe.batch.slurm_epilog import Settings, open_source
from jobmeter.observe.host import Host
from jobmeter.observe.shape.rules import OnlyIf
from jobmeter.observe.shape.rules import Score as ScoreRule
from jobmeter.observe.slurm.scontrol_settings import ComponentRule
from jobmeter.settings.load import load
from tests.observe.scontrol_player import calls, command
from tests.observe.slurm_tables import NOW, SetClock
from tests.observe.test_slurm_epilog_text import JOB, printed

EPILOG = {"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "17", "SLURM_SCRIPT_CONTEXT": "epilog_slurmctld"}


EXAMPLES = (
    """\
addr: "auditor_host_addr"
port: 8000
record_prefix: "slurm"
site_id: "site_name"
components:
  - name: "Cores"
    key: "NumCPUs"
    scores:
      - name: "HEPSPEC"
        value: 1.0
  - name: "Memory"
    key: "Mem"
log_level: info
""",
    """\
addr: "auditor_host_address"
port: 8000
record_prefix: "slurm"
site_id: "site_name"
components:
  - name: "Cores"
    key: "NumCPUs"
    scores:
      # If it the job is running on partition `part1`, then use HEPSPEC value 1.1
      - name: "HEPSPEC"
        value: 1.1
        only_if:
          key: "Partition"
          matches: "^part1$"
      # If it the job is running on partition `part2`, then use HEPSPEC value 1.2
      - name: "HEPSPEC"
        value: 1.2
        only_if:
          key: "Partition"
          matches: "^part2$"
  - name: "Memory"
    key: "Mem"
    only_if:
      key: "Partition"
      matches: "^part2$"
""",
)
"""The examples of AUDITOR's documentation, which its users have."""


def read(folder: Path, text: str, settings: Settings | None = None, /, **variables: str) -> JobBatch:
    path = command(folder, {"scontrol.txt": text})
    chosen = msgspec.structs.replace(settings or Settings(), scontrol_path=str(path))
    host = Host(Path("/"), SetClock(), {**EPILOG, "SLURM_JOB_NAME": "job", "TZ": "Europe/Berlin", **variables})
    (batch,) = open_source(chosen, host).read(None)
    return batch


def test_a_job_becomes_a_record(tmp_path: Path) -> None:
    (record,) = read(tmp_path, printed()).records
    assert record.record_id == "slurm-17"
    assert record.components == (Component("Cores", 2, ()),)
    assert record.meta == {
        "site_id": ("none",),
        "user_id": ("alice",),
        "group_id": ("physics",),
        "collector_type": ("slurm-epilog",),
        "time_unit": ("milliseconds",),
    }
    assert (record.start_time.isoformat(), record.runtime_seconds) == ("2026-11-21T10:00:00+00:00", 1800)


def test_an_older_slurm_is_asked_once_in_utc_and_for_the_one_task(tmp_path: Path) -> None:
    text = printed(head="JobId=17 ArrayJobId=15 ArrayTaskId=2 JobName=job")
    (record,) = read(tmp_path, text, SLURM_ARRAY_JOB_ID="15", SLURM_ARRAY_TASK_ID="2").records
    fixed = {"TZ": "UTC", "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}
    assert calls(tmp_path) == [(["--details", "show", "job", "15_2"], fixed)]
    assert record.record_id == "slurm-15_2"


def test_a_newer_slurm_is_asked_for_json_and_the_text_serves_where_that_fails(tmp_path: Path) -> None:
    times = {"SLURM_JOB_START_TIME": "1795255200", "SLURM_JOB_END_TIME": "1795257000"}
    assert len(read(tmp_path, printed(), **times).records) == 1
    assert [argv[-1] for argv, _ in calls(tmp_path)] == ["--json", "17"]


def test_a_component_of_a_het_job_has_the_id_that_sacct_gives_it(tmp_path: Path) -> None:
    text = printed(head="JobId=17 HetJobId=16 HetJobOffset=1 JobName=job\n   HetJobIdSet=16-17")
    assert [record.record_id for record in read(tmp_path, text).records] == ["slurm-16+1"]


def test_a_run_that_is_queued_again_is_refused_where_its_times_are_not_told(tmp_path: Path) -> None:
    text = printed(RunTime="RunTime=00:00:00", EndTime="EndTime=2026-11-21T20:00:00")
    (refused,) = read(tmp_path, text).refused
    assert "queued again" in refused.reason


def test_a_run_that_is_queued_again_keeps_its_told_times_and_leaves_the_plain_id_to_the_last(tmp_path: Path) -> None:
    text = printed(RunTime="RunTime=00:00:00", EndTime="EndTime=2026-11-21T20:00:00")
    times = {"SLURM_JOB_START_TIME": "1795255000", "SLURM_JOB_END_TIME": "1795255100"}
    rules = Settings(components=(ComponentRule("Spent", "RunTime"),), time_unit="seconds")
    (record,) = read(tmp_path, text, rules, **times).records
    assert (record.record_id, record.runtime_seconds) == ("slurm-17-1795255000", 100)
    assert record.components[0].amount == 100


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "CONFIGURING"])
def test_a_job_that_runs_is_left_out_when_nobody_said_that_it_ended(tmp_path: Path, state: str) -> None:
    batch = read(tmp_path, printed(JobState=f"JobState={state}"), SLURM_SCRIPT_CONTEXT="prolog_slurmctld")
    assert (batch.records, batch.ignored) == ((), {"not ended": 1})


@pytest.mark.parametrize(
    ("key", "value", "amount"),
    [("NumCPUs", "7", 7), ("Mem", "", 400), ("RunTime", "1-00:00:01", 86_401_000), ("MinMemoryNode", "2G", 2048)],
)
def test_components_are_numbers_durations_and_sizes(tmp_path: Path, key: str, value: str, amount: int) -> None:
    text = printed(**({key: f"{key}={value}"} if value else {}))
    (record,) = read(tmp_path, text, Settings(components=(ComponentRule("it", key),))).records
    assert record.components == (Component("it", amount, ()),)


@pytest.mark.parametrize(("key", "reason"), [("Foo", "gave no Foo"), ("QOS", "is not a whole number")])
def test_a_component_without_a_number_refuses_the_job_with_its_text(tmp_path: Path, key: str, reason: str) -> None:
    batch = read(tmp_path, printed(), Settings(components=(ComponentRule("it", key),)))
    assert batch.records == ()
    assert reason in batch.refused[0].reason
    assert "JobId=17" in batch.refused[0].raw


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_auditor_load_without_a_word(tmp_path: Path, example: str) -> None:
    file = tmp_path / "epilog.yml"
    file.write_text(example)
    loaded = load(Settings, file=file, environment={"AUDITOR_PORT": "8001"}, prefix=Settings.environment_prefix)
    assert loaded.notes == ()
    assert (loaded.settings.site_id, loaded.settings.port) == ("site_name", 8001)
    assert [rule.key for rule in loaded.settings.components] == ["NumCPUs", "Mem"]


def test_unknown_keys_are_noted_and_the_newer_sections_taken(tmp_path: Path) -> None:
    file = tmp_path / "epilog.yml"
    file.write_text('port: "9000"\nfrequency: 3\ntls_config: {use_tls: false}\nlogging: {log_to_file: false}\n')
    loaded = load(Settings, file=file, environment={}, prefix=None)
    assert (loaded.settings.port, loaded.settings.unit) == (9000, "seconds")
    assert len(loaded.notes) == 1


def test_conditions_choose_components_and_scores(tmp_path: Path) -> None:
    yes, no = OnlyIf("Partition", "^batch$"), OnlyIf("Partition", "^debug$")
    rules = (
        ComponentRule("a", "NumCPUs", (ScoreRule("s", 1.5, yes), ScoreRule("s", 2.5, no))),
        ComponentRule("b", "NumCPUs", (), no),
    )
    (record,) = read(tmp_path, printed(), Settings(components=rules)).records
    assert record.components == (Component("a", 2, (Score("s", 1.5),)),)


@pytest.mark.parametrize("id_", ["", "17_1", "x", "\u0661"])
def test_what_is_no_job_id_is_not_asked_for(tmp_path: Path, id_: str) -> None:
    with pytest.raises(SourceUnreadable, match="SLURM_JOB_ID"):
        read(tmp_path, printed(), SLURM_JOB_ID=id_)
    assert not (tmp_path / "calls.txt").exists()


def test_a_scontrol_that_fails_or_hangs_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "fault.txt").write_text("slurm_load_jobs error: Unable to contact slurm controller")
    with pytest.raises(SourceUnreadable, match="Unable to contact"):
        read(tmp_path, printed())
    (tmp_path / "slow.txt").write_text("")
    with pytest.raises(SourceUnreadable, match="was killed"):
        read(tmp_path, printed(), Settings(scontrol_timeout_seconds=0.3))


def test_there_is_no_history_to_read_again() -> None:
    source = open_source(Settings(), Host(Path("/"), SetClock(), EPILOG))
    with pytest.raises(SourceUnreadable, match="no history"):
        list(source.read(None, Period(NOW, NOW)))


def test_the_printed_job_of_these_tests_is_whole() -> None:
    assert JOB.count("\n") > 20
