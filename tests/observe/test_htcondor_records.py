from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobmeter.contract import Refused
from jobmeter.model.record import EPOCH, Record
from jobmeter.observe.batch.htcondor import Settings
from jobmeter.observe.htcondor.job import Job, folded
from jobmeter.observe.htcondor.record import LeftOut, Shaper
from jobmeter.observe.htcondor.settings import ComponentRule, Entry, OnlyIf, Score
from jobmeter.settings.fault import SettingsFaulty
from jobmeter.settings.load import load
from tests.observe.htcondor_history import ENDED, ad, settings

SMALL = """
state_db: state.db
record_prefix: htcondor
schedd_names: [s1]
meta:
  site: [{name: SITE}]
components:
  - {name: Cores, key: CpusProvisioned}
"""


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def shaped(values: dict[str, Any], **more: Any) -> Record | LeftOut | Refused:
    job = Job({folded(key): value for key, value in values.items()}, "raw")
    return Shaper(settings(Path("condor_history"), **more)).shape(job, EPOCH)


def record(values: dict[str, Any], **more: Any) -> Record:
    found = shaped(values, **more)
    assert isinstance(found, Record), found
    return found


def meta(entry: Entry, **attributes: Any) -> tuple[str, ...] | None:
    found = record(ad(**attributes), meta={"site": (Entry(name="S"),), "x": (entry,)}).meta
    assert found is not None
    return found.get("x")


def test_a_record_is_named_by_prefix_and_global_job_id() -> None:
    found = record(ad(17, 3), record_prefix="condor")
    assert found.record_id == f"condor-s1#17.3#{ENDED - 100}"
    assert (found.start_time, found.stop_time) == (at(ENDED - 60), at(ENDED))
    assert found.meta == {"site": ("SITE",), "user": ("alice",), "collector_type": ("htcondor",)}


@pytest.mark.parametrize(
    ("completion", "epoch", "entered", "stop"),
    [
        (ENDED, ENDED - 1, ENDED - 2, ENDED),
        (0, ENDED - 1, ENDED - 2, ENDED - 1),
        (-1, None, ENDED - 2, ENDED - 2),
        (None, 0, ENDED - 2, ENDED - 2),
    ],
)
def test_the_end_is_the_first_moment_that_is_one(
    completion: int | None, epoch: int | None, entered: int, stop: int
) -> None:
    changes: dict[str, Any] = {"CompletionDate": completion, "EpochWriteDate": epoch, "EnteredCurrentStatus": entered}
    assert record(ad(**changes)).stop_time == at(stop)


def test_a_job_without_any_end_is_refused_and_never_ends_in_1970() -> None:
    found = shaped(ad(CompletionDate=-1, EnteredCurrentStatus=0))
    assert isinstance(found, Refused)
    assert "have no moment" in found.reason


@pytest.mark.parametrize("before", [1, 5])
def test_a_job_removed_while_it_waits_after_a_run_ended_when_it_left_its_slot(before: int) -> None:
    waited = ad(
        JobStatus=3, LastJobStatus=before, CompletionDate=None, LastVacateTime=ENDED - 50, EnteredCurrentStatus=ENDED
    )
    assert record(waited).stop_time == at(ENDED - 50)


def test_a_job_removed_while_it_runs_ended_when_it_was_removed() -> None:
    running = ad(JobStatus=3, LastJobStatus=2, CompletionDate=None, LastVacateTime=ENDED - 1)
    assert record(running).stop_time == at(ENDED)
    earlier_run = ad(JobStatus=3, LastJobStatus=5, CompletionDate=None, LastVacateTime=ENDED - 100)
    assert record(earlier_run).stop_time == at(ENDED)


@pytest.mark.parametrize(
    "never",
    [
        {"LastMatchTime": None, "JobCurrentStartDate": None, "NumJobStarts": 0},
        {"LastMatchTime": None, "JobCurrentStartDate": None, "NumJobStarts": None},
        {"JobCurrentStartDate": None, "NumJobStarts": 0},
        {"LastMatchTime": None},
    ],
)
def test_a_job_that_never_ran_on_a_slot_is_left_out(never: dict[str, Any]) -> None:
    assert shaped(ad(**never)) == LeftOut("never ran on a slot")


def test_only_wanted_statuses_are_taken() -> None:
    assert isinstance(shaped(ad(), job_status=(3, 4)), Record)
    assert shaped(ad(JobStatus=3), job_status=(4,)) == LeftOut("status not wanted")
    assert shaped(ad(JobStatus=None), job_status=(4,)) == LeftOut("status not wanted")


def test_a_value_comes_from_key_else_factor_else_name() -> None:
    assert meta(Entry(key="Owner", factor=2, name="n")) == ("alice",)
    assert meta(Entry(key="Nothing", factor=2, name="n")) is None
    assert meta(Entry(factor=2, name="n")) == ("2",)
    assert meta(Entry(name="n")) == ("n",)


def test_an_attributes_name_has_no_case() -> None:
    assert meta(Entry(key="oWNER")) == ("alice",)


def test_matches_gives_its_first_group_or_the_name() -> None:
    assert meta(Entry(key="Owner", matches="l(.)c", name="n")) == ("i",)
    assert meta(Entry(key="Owner", matches="lic", name="n")) == ("n",)
    assert meta(Entry(key="Owner", matches="bob", name="n")) is None
    assert meta(Entry(key="Owner", matches="a(x)?", name="n")) is None


def test_numbers_and_truths_are_matched_as_a_classad_writes_them() -> None:
    assert meta(Entry(key="N", matches="^(1)7"), N=17) == ("1",)
    assert meta(Entry(key="N", matches=r"^(\d+\.\d)"), N=27.0) == ("27.0",)
    assert meta(Entry(key="T", matches="^(true)$"), T=True) == ("true",)


def test_what_is_no_number_stays_the_text_it_is() -> None:
    assert meta(Entry(key="T"), T="007") == ("007",)
    assert meta(Entry(key="T"), T=True) == ("True",)
    assert meta(Entry(key="T"), T=27.0) == ("27.0",)


def test_values_of_several_entries_are_kept_and_of_site_only_the_first() -> None:
    entries = (Entry(key="Owner"), Entry(key="Nothing"), Entry(name="all"))
    found = record(ad(), meta={"site": entries, "x": entries}).meta
    assert found is not None
    assert (found["site"], found["x"]) == (("alice",), ("alice", "all"))


def test_a_value_that_cannot_be_stored_leaves_the_job_in_the_account(caplog: pytest.LogCaptureFixture) -> None:
    assert meta(Entry(key="V"), V="x" * 300) is None
    assert meta(Entry(key="V"), V=" ") is None
    assert meta(Entry(key="V"), V="a\0b") is None
    assert caplog.text.count("htcondor.meta_left_out") == 3


def components(*rules: ComponentRule, **attributes: Any) -> list[tuple[str, int, dict[str, float]]]:
    found = record(ad(**attributes), components=rules).components
    return [(each.name, each.amount, {score.name: score.value for score in each.scores}) for each in found]


@pytest.mark.parametrize(
    ("value", "amount"),
    [(4, 4), (4.9, 4), (0, 0), (True, 1), ("12", 12), ("12.7", 12), (" 3 ", 3), (2**63 - 1, 2**63 - 1), ("1e3", 1000)],
)
def test_an_amount_is_the_whole_part_of_a_number(value: Any, amount: int) -> None:
    assert components(ComponentRule("X", key="V"), V=value) == [("X", amount, {})]


@pytest.mark.parametrize("value", [-1, -0.5 - 1, 2**63, 1e300, "many", "", "nan", "1e999", "9" * 500, "1_000"])
def test_an_amount_that_is_none_refuses_the_job(value: Any) -> None:
    found = shaped(ad(V=value), components=(ComponentRule("X", key="V"),))
    assert isinstance(found, Refused)
    assert "the component X" in found.reason


def test_a_component_without_value_refuses_the_job_unless_there_is_a_default() -> None:
    assert isinstance(shaped(ad(), components=(ComponentRule("X", key="V"),)), Refused)
    assert components(ComponentRule("X", key="V", default_value=3)) == [("X", 3, {})]
    assert components(ComponentRule("X", factor=2)) == [("X", 2, {})]


def test_a_component_whose_condition_does_not_hold_is_left_out() -> None:
    gpus = ComponentRule("GPUs", key="GPUs", only_if=OnlyIf("RequestGPUs", "^[1-9]"))
    assert components(ComponentRule("Cores", key="CpusProvisioned"), gpus) == [("Cores", 4, {})]
    assert components(gpus, GPUs=2, RequestGPUs=2) == [("GPUs", 2, {})]


def test_a_score_without_value_is_left_out_and_never_zero() -> None:
    rule = ComponentRule(
        "Cores",
        key="CpusProvisioned",
        scores=(
            Score("HS", key="Spec", matches=r"HEPSPEC\D+(\d+(\.\d+)?)"),
            Score("site", factor=2, only_if=OnlyIf("Owner", "^bob$")),
            Score("one", factor=1),
        ),
    )
    assert components(rule) == [("Cores", 4, {"one": 1.0})]
    assert components(rule, Spec="HEPSPEC: 13.7", Owner="bob") == [("Cores", 4, {"HS": 13.7, "site": 2.0, "one": 1.0})]


def test_a_pattern_that_takes_forever_refuses_the_job_and_no_other() -> None:
    entry = Entry(key="V", matches=r"^(a|a|aa)+$")
    found = shaped(ad(V="a" * 200 + "b"), meta={"site": (Entry(name="S"),), "x": (entry,)})
    assert isinstance(found, Refused)
    assert "a regular expression took longer" in found.reason


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(text: str) -> Settings:
        file = tmp_path / "config.yml"
        file.write_text(text)
        return load(Settings, file=file, environment={}, prefix=None).settings

    return written


def test_a_small_file_has_auditors_defaults(write: Any) -> None:
    found: Settings = write(SMALL)
    assert (found.port, found.interval, found.timeout, found.job_status) == (8080, 900, 30, None)
    assert found.deployment.url == "http://127.0.0.1:8080"
    assert found.deployment.spool_file == Path("state.db.spool")
    assert found.meta["site"] == (Entry(name="SITE"),)


def test_an_address_may_name_its_scheme(write: Any) -> None:
    assert (
        write(f"addr: http://auditor.example.org/\nport: 8000\n{SMALL}").deployment.url
        == "http://auditor.example.org:8000"
    )
    secure = "tls_config: {use_tls: true, ca_cert_path: a, client_cert_path: b, client_key_path: c}"
    assert write(f"addr: a.example.org\n{secure}\n{SMALL}").deployment.url == "https://a.example.org:8080"


def test_keys_that_auditor_ignored_are_notes(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text(SMALL + "colour: blue\n")
    assert any("colour" in note for note in load(Settings, file=file, environment={}, prefix=None).notes)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("meta:\n  site: [{name: SITE}]", "meta: {user: {key: Owner}}"), "meta"),
        (("meta:\n  site: [{name: SITE}]", "meta: {site: []}"), "meta.site"),
        (("[{name: SITE}]", "[{key: A, matches: b}]"), "meta.site[0]"),
        (("[{name: SITE}]", "[{name: A, matches: '('}]"), "matches"),
        (("[{name: SITE}]", "[{name: A, only_if: {key: B}}]"), "only_if.matches"),
        (("schedd_names: [s1]", "schedd_names: []"), "schedd_names"),
        (("schedd_names: [s1]", "schedd_names: ['']"), "schedd_names[0]"),
        (("state_db: state.db", ""), "state_db"),
        (("record_prefix: htcondor", ""), "record_prefix"),
        (("  - {name: Cores, key: CpusProvisioned}", "  []"), "components"),
        (("key: CpusProvisioned", "only_if: {key: A, matches: b}"), "components[0].key"),
        (("key: CpusProvisioned", "key: A, matches: b"), "components[0].matches"),
    ],
)
def test_a_faulty_file_is_told_by_its_key(write: Any, change: tuple[str, str], key: str) -> None:
    with pytest.raises(SettingsFaulty) as told:
        write(SMALL.replace(*change))
    assert key in str(told.value)
