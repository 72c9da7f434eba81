"""Reporting to APEL: a real server with the account, a scripted messaging service over TLS, the real command."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from jobmeter.contract import RecordStore
from jobmeter.deliver.outbox import Outbox
from jobmeter.model.record import Record
from jobmeter.observe.host import SystemClock
from jobmeter.report.month import Month
from jobmeter.run import main as program
from jobmeter.run.apel.reporter import TOLD_AT_ONCE
from jobmeter.serve.table import Beside
from jobmeter.store.open import open_store
from jobmeter.store.publications import Publications
from tests.contract.test_record_history import EDIT
from tests.report.apel_receiver import Receiver
from tests.report.test_apel_summary import job
from tests.serve.live import live
from tests.sinks.scripted import Request, ScriptedServer, Step, answer
from tests.sinks.test_ams import published, server_tls, token
from tests.wire.test_smime import made

MARCH = Month(2024, 3)
CONFIG = """\
!Config
plugin:
  log_level: INFO
  time_json_path: {folder}/time.json
  report_interval: 86400
  recheck_months: 600
  message_type: {kind}
site:
  sites_to_report:
    SITE_A: ["a1", "a2"]
    SITE_B: ["b"]
authentication:
  auth_url: {service}/token
  ams_url: {service}/publish?key=
  client_cert: {folder}/cert.pem
  client_key: {folder}/key.pem
  verify_ca: False
auditor:
  ip: 127.0.0.1
  port: {port}
  timeout: 20
  site_meta_field: site_id
summary_fields:
  mandatory:
    NormalisedWallDuration: !NormalisedWallDurationField
      score: {{name: hepscore23, component_name: Cores}}
    CpuDuration: !ComponentField {{name: TotalCPU}}
    NormalisedCpuDuration: !NormalisedField
      base_value: !ComponentField {{name: TotalCPU}}
      score: {{name: hepscore23, component_name: Cores}}
  optional:
    VO: !MetaField {{name: user_id}}
    SubmitHost: !MetaField {{name: headnode}}
    Processors: !ComponentField {{name: Cores}}
individual_job_fields:
  mandatory:
    CpuDuration: !ComponentField {{name: TotalCPU}}
  optional:
    LocalUserId: !MetaField {{name: user_id}}
"""


class Service:
    """The messaging service: what it was told, and how it answers the next messages."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.messages: list[str] = []
        self.answers: list[Step] = []

    def take(self, request: Request) -> Step:
        if request.method == "GET":
            return token()
        if self.answers:
            return self.answers.pop(0)
        data = base64.b64decode(json.loads(request.body)["messages"][0]["data"])
        self.messages.append(
            data.replace(b"\r\n", b"\n").partition(b"text/plain\n\n")[2].partition(b"\n\n--")[0].decode()
        )
        return published(str(len(self.messages)))

    def load(self, receiver: Receiver) -> None:
        """Hand the messages to the receiver."""
        for text in self.messages:
            receiver.take(f"{text}\n")
        self.messages.clear()

    def told(self) -> list[tuple[str, int]]:
        """The header and the number of jobs or blocks of each message taken since the last time."""
        found = []
        for text in self.messages:
            jobs = [int(line.partition(":")[2]) for line in text.splitlines() if line.startswith("NumberOfJobs")]
            found.append((text.partition(":")[0], sum(jobs) if jobs else text.count("%%")))
        self.messages.clear()
        return found


class Site:
    """The account, the service, and the command between them."""

    def __init__(self, store: RecordStore, service: Service, config: Path, port: int) -> None:
        self.port = port
        self.store = store
        self.service = service
        self.config = config

    def put(self, *records: Record) -> None:
        self.store.put(records)

    def report(self, *words: str) -> int:
        return program.main(["report", "apel", *words, "-c", str(self.config)])

    def publish(self, seconds: float = 30) -> int:
        return self.report("publish", "--once", "--deliver-seconds", str(seconds))

    def history(self, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert self.report("history", "--json") == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def arranged(sqlite_url: str, tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    store = open_store(sqlite_url)
    certificate, key = made(ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    kept = Publications(sqlite_url)
    beside = Beside(None, None, kept)
    with live(store, beside=beside) as account, ScriptedServer([], server_tls(tmp_path)) as peer:
        service = Service(peer)
        peer.script = service.take

        def arrange(kind: str) -> Site:
            file = tmp_path / "apel.yml"
            file.write_text(CONFIG.format(folder=tmp_path, service=peer.address, port=account.port, kind=kind))
            return Site(store, service, file, account.port)

        yield arrange
    kept.close()
    store.close()


@pytest.fixture
def site(arranged: Callable[[str], Site]) -> Site:
    return arranged("summaries")


SUMMARY, SYNC, JOBS = "APEL-summary-job-message", "APEL-sync-message", "APEL-individual-job-message"


def test_what_is_new_is_sent_once_and_a_change_is_sent_again(site: Site) -> None:
    site.put(job(1), job(2), job(3, site="b"))
    assert site.publish() == 0
    assert site.service.told() == [(SUMMARY, 2), (SYNC, 2), (SUMMARY, 1), (SYNC, 1)]
    assert site.publish() == 0
    assert site.service.told() == []
    site.put(job(4, ended=timedelta(days=3)))
    assert site.publish() == 0
    assert site.service.told() == [(SUMMARY, 3), (SYNC, 3)]


def test_a_late_record_brings_its_month_back_however_long_ago_it_was(site: Site) -> None:
    site.put(job(1))
    assert site.publish() == 0
    site.service.told()
    site.put(job(2, ended=timedelta(days=-400)))
    assert site.publish() == 0
    assert site.service.told() == [(SUMMARY, 1), (SYNC, 1)]


def test_summaries_begin_with_a_whole_month_and_job_messages_at_the_moment(
    arranged: Callable[[str], Site], capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for kind in ("summaries", "individual_jobs"):
        site = arranged(kind)
        since = "site:\n  publish_since: 2024-03-05 00:00:00+00:00\n"
        site.config.write_text(site.config.read_text().replace("site:\n", since, 1))
        site.put(job(1, ended=timedelta(days=-1)), job(2), job(3, ended=timedelta(days=9)))
        capsys.readouterr()
        assert site.report("publish", "--dry-run") == 0
        told.append(capsys.readouterr().out)
    assert [text.count("Month: 2") for text in told] == [0, 0]
    assert told[0].count("NumberOfJobs: 2\n") == 2
    assert [told[1].count(f"LocalJobId: slurm-{number}\n") for number in (1, 2, 3)] == [0, 0, 1]


def test_the_time_of_the_report_is_kept_beside_what_else_the_file_has(site: Site) -> None:
    file = site.config.with_name("time.json")
    file.write_text('{"last_report_time": "2020-01-01T00:00:00", "site_end_times": {"SITE_A": "2020-01-01"}}')
    site.put(job(1))
    assert site.publish() == 0
    held = json.loads(file.read_text())
    assert held["site_end_times"] == {"SITE_A": "2020-01-01"}
    assert datetime.now(UTC) - datetime.fromisoformat(held["last_report_time"]) < timedelta(minutes=1)


def test_the_history_tells_what_was_sent_with_its_receipt(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.put(job(1))
    assert site.publish() == 0
    sync, summary = site.history(capsys)
    assert summary["key"] == ["apel", "SITE_A", "2024-03", "summary"]
    assert (summary["state"], summary["receipt"], summary["about"]["jobs"]) == ("accepted", "1", 1)
    assert len(summary["digest"]) == 64
    assert sync["receipt"] == "2"
    assert site.report("history") == 0
    assert "accepted   SITE_A 2024-03 summary jobs=1" in capsys.readouterr().out


def test_stored_and_published_are_reconciled_across_the_names_of_sites(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    never_ran = replace(job(4), start_time=job(4).stop_time)
    site.put(job(1), job(2, site="a2"), job(3, site="b"), never_ran, replace(job(5), components=()), job(6, site="c"))
    assert site.publish() == 0

    def reconciled() -> tuple[int, list[str]]:
        capsys.readouterr()
        words = ["--since", "2024-03-01", "--until", "2024-04-01", "--server", f"http://127.0.0.1:{site.port}"]
        code = program.main(["reconcile", *words])
        return code, [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    code, lines = reconciled()
    assert lines[-5:] == [
        "MONTH PUBLISHED AS SITES STORED PUBLISHED LEFT OUT NOT RUN GAP",
        "2024-03 SITE_A a1, a2 4 2 1 1 0",
        "2024-03 SITE_B b 1 1 0 0 0",
        "2024-03 c c 1 ? ? ? ?",
        "no gaps",
    ]
    assert code == 0
    site.put(job(7, site="a2"), replace(job(8), start_time=job(8).stop_time))
    code, lines = reconciled()
    assert (code, lines[-2:]) == (1, ["gap: SITE_A 2024-03: 2 stored and not published", "1 months with a gap"])
    assert site.publish() == 0
    assert reconciled()[0] == 0
    site.put(replace(job(9), start_time=job(9).stop_time))  # it changes no message, but what is counted beside them
    assert site.publish() == 0
    assert reconciled()[0] == 0


def test_more_messages_than_one_telling_takes_are_all_told(site: Site) -> None:
    with Outbox(site.config.with_name("time.reports.db"), SystemClock()) as outbox:
        for number in range(2 * TOLD_AT_ONCE + 30):
            outbox.put(("apel", "SITE_A", f"2024-03-{number % 31 + 1:02}", "jobs"), [b"%d" % number], {"jobs": number})
        assert site.publish() in {0, 1}
        assert outbox.untold(10) == []
    asked = f"http://127.0.0.1:{site.port}/v2/publications"
    with urllib.request.urlopen(asked, timeout=10) as told:
        assert len(json.loads(told.read())["publications"]) == 2 * TOLD_AT_ONCE + 30


@pytest.mark.parametrize("step", [answer(500), answer(401), Step(close=True), answer(200, b"<html>")])
def test_what_was_not_taken_waits_and_goes_out_the_next_time(
    site: Site, step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    site.put(job(1))
    site.service.answers += [step] * 40
    assert site.publish(0.3) == 1
    assert not site.config.with_name("time.json").exists()
    assert {one["state"] for one in site.history(capsys)} == {"waiting"}
    site.service.answers.clear()
    assert site.publish(60) == 0
    assert sorted(site.service.told()) == [(SUMMARY, 1), (SYNC, 1)]


def test_a_correction_leaves_no_job_under_its_old_name(site: Site) -> None:
    receiver = Receiver()
    site.put(job(1), job(2))
    assert site.publish() == 0
    site.service.load(receiver)
    site.store.correct(job(2, user="cm1"), EDIT)
    assert site.publish() == 0
    site.service.load(receiver)
    assert (receiver.sums()["NumberOfJobs"], receiver.counted()) == (2, 2)
    site.store.correct(job(1, user="cm1"), EDIT)
    assert site.publish() == 0
    site.service.load(receiver)
    assert (receiver.sums()["NumberOfJobs"], receiver.counted()) == (2, 2)
    assert site.publish() == 0
    assert site.service.told() == []


def test_a_month_that_lost_all_its_jobs_is_emptied_only_when_asked(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver = Receiver()
    site.put(job(1), job(2, ended=timedelta(days=-3)))
    assert site.publish() == 0
    site.service.load(receiver)
    site.store.withdraw("slurm-1", EDIT)
    assert site.report("publish", "--dry-run") == 1
    assert site.publish() == 1
    assert site.service.told() == []
    assert "republish the month if that is right" in capfd.readouterr().err
    assert site.report("republish", "-s", "SITE_A", "-y", "2024", "-m", "3") == 0
    site.service.load(receiver)
    assert (receiver.sums()["NumberOfJobs"], receiver.counted()) == (1, 1)
    assert site.publish() == 0
    assert site.service.told() == []


def test_to_republish_a_month_without_jobs_is_told(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.put(job(1))
    assert site.report("republish", "-s", "SITE_A", "-y", "2024", "-m", "4") == 1
    assert "apel.nothing_to_send" in capfd.readouterr().err


def test_the_text_that_was_sent_is_shown_with_its_digest(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.put(job(1), job(2, ended=timedelta(days=-3)))
    assert site.publish() == 0
    sent = [f"{text}\n" for text in site.service.messages]
    capsys.readouterr()
    assert site.report("history", "--month", "2024-03", "--text", "--json") == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["key"][2:] for one in shown] == [["2024-03", "sync"], ["2024-03", "summary"]]
    for one in shown:
        assert one["text"] in sent
        assert hashlib.sha256(one["text"].encode()).hexdigest() == one["digest"]
    assert site.report("history", "--text", "--limit", "1") == 0
    assert f"\nsha256 {shown[0]['digest']}\n{shown[0]['text']}" in capsys.readouterr().out


def test_what_changed_while_it_waited_is_sent_as_it_is_now_and_only_so(site: Site) -> None:
    site.put(job(1))
    site.service.answers += [answer(503)] * 40
    assert site.publish(0.3) == 1
    site.service.answers.clear()
    site.put(job(2))
    assert site.publish(60) == 0
    assert sorted(site.service.told()) == [(SUMMARY, 2), (SYNC, 2)]


def test_a_rejected_message_stops_no_other_and_is_sent_again_when_asked(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.put(job(1), job(2, site="b"))
    site.service.answers.append(answer(413, b"too large"))
    assert site.publish() == 1
    assert site.service.told() == [(SYNC, 1), (SUMMARY, 1), (SYNC, 1)]
    assert site.publish() == 1
    assert site.service.told() == []
    (rejected,) = [one for one in site.history(capsys) if one["state"] == "rejected"]
    assert "too large" in rejected["reason"]
    assert site.report("retry", "--deliver-seconds", "5") == 0
    assert site.service.told() == [(SUMMARY, 1)]


def test_a_poisoned_record_is_left_out_named_and_stops_nothing(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    whole = job(1)
    site.put(whole, Record("bad", whole.components[:1], whole.start_time, whole.meta, whole.stop_time))
    assert site.publish() == 0
    assert site.service.told() == [(SUMMARY, 1), (SYNC, 1)]
    assert "apel.unfit site=SITE_A record_id='bad' lacks='component TotalCPU'" in capfd.readouterr().err


def test_a_dry_run_prints_the_messages_and_touches_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.put(job(1))
    (site.config.with_name("key.pem")).unlink()
    assert site.report("publish", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("APEL-summary-job-message: v0.3\nSite: SITE_A\nMonth: 3\nYear: 2024\n")
    assert "APEL-sync-message: v0.1\n" in printed
    assert site.service.told() == []
    assert not site.config.with_name("time.reports.db").exists()


def test_months_are_republished_whole_and_only_those(site: Site) -> None:
    site.put(job(1), job(2, ended=timedelta(days=40)), job(3, site="b"))
    assert site.publish() == 0
    site.service.told()
    assert site.report("republish", "-s", "SITE_A", "-y", "2024", "-m", "3") == 0
    assert site.service.told() == [(SUMMARY, 1), (SYNC, 1)]
    dates = ("--begin-date", "2024-03-30 00:00:00+00:00", "--end-date", "2024-04-02 00:00:00+00:00")
    assert site.report("republish", "-s", "SITE_A", *dates) == 0
    assert site.service.told() == [(SUMMARY, 1), (SYNC, 1)] * 2


@pytest.mark.parametrize(
    "words",
    [
        ("-s", "SITE_C", "-y", "2024", "-m", "3"),
        ("-s", "SITE_A"),
        ("-s", "SITE_A", "-y", "2024", "-m", "13"),
        ("-s", "SITE_A", "-y", "2024", "--end-date", "2024-03-30"),
        ("-s", "SITE_A", "--begin-date", "2024-03-30", "--end-date", "2024-03-30"),
    ],
)
def test_wrong_words_are_told(site: Site, words: tuple[str, ...]) -> None:
    assert site.report("republish", *words) == 2


def test_without_a_messaging_service_messages_can_only_be_shown(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    before, _, after = site.config.read_text().partition("authentication:")
    site.config.write_text(before + after[after.index("auditor:") :])
    site.put(job(1))
    assert site.publish() == 2
    assert "messaging is missing" in capsys.readouterr().err
    assert site.report("publish", "--dry-run") == 0
    assert "NumberOfJobs: 1" in capsys.readouterr().out


def test_a_server_that_is_away_or_answers_in_part_gives_no_report(site: Site, tmp_path: Path) -> None:
    text = site.config.read_text()
    for step in (Step(close=True), answer(503), answer(200, b'{"group_by":[],"measu'), answer(200, b"{}")):
        with ScriptedServer(lambda _, step=step: step) as broken:  # type: ignore[misc]
            port = text.partition("port: ")[2].partition("\n")[0]
            site.config.write_text(text.replace(f"port: {port}", f"port: {broken.port}"))
            assert site.publish() == 1
    assert site.service.told() == []
    assert not (tmp_path / "time.json").exists()


def test_job_messages_have_a_block_per_job_and_a_day_is_sent_again_when_it_changed(
    arranged: Callable[[str], Site],
) -> None:
    site = arranged("individual_jobs")
    site.put(job(1), job(2, user="cm2"), job(3, ended=timedelta(days=5)))
    assert site.publish() == 0
    first = site.service.messages[0]
    assert "LocalJobId: slurm-1\nLocalUserId: at1\n" in first
    assert "WallDuration: 3600\nCpuDuration: 3600\n" in first
    ended = int((MARCH.period.start + timedelta(days=2)).timestamp())
    assert f"StartTime: {ended - 3600}\nEndTime: {ended}\n" in first
    assert site.service.told() == [(JOBS, 2), (JOBS, 1)]
    site.put(job(4, ended=timedelta(days=5)))
    assert site.publish() == 0
    assert site.service.told() == [(JOBS, 2)]


def test_the_name_of_the_superseded_program_takes_its_words(site: Site) -> None:
    site.put(job(1))
    assert program.auditor_apel_publish(["-c", str(site.config), "--dry-run"]) == 0
    assert program.auditor_apel_republish(["-c", str(site.config), "-s", "SITE_A", "-y", "2024", "-m", "3"]) == 0
    assert site.service.told() == [(SUMMARY, 1), (SYNC, 1)]
