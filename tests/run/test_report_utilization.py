"""Utilisation: real servers with the account, a real mail server, the real program."""

from __future__ import annotations

import csv
import email
import email.policy
import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from jobmeter.contract import RecordStore
from jobmeter.model.record import Component, Record, Score
from jobmeter.run import main as program
from jobmeter.store.open import open_store
from tests.process import free_port
from tests.serve.live import Live, live
from tests.wire.test_smime import made

MARCH = datetime(2024, 3, 1, tzinfo=UTC)


def job(name: str, user: str = "ada", site: str = "A", hours: int = 10, energy: int | None = None) -> Record:
    stop = MARCH + timedelta(days=3)
    parts = [Component("Cores", 2, (Score("hepscore23", 12.0),)), Component("TotalCPU", hours * 3600, ())]
    if energy is not None:
        parts.append(Component("Energy", energy, ()))
    return Record(name, tuple(parts), stop - timedelta(hours=hours), {"user_id": (user,), "site": (site,)}, stop)


class Arranged:
    """A store behind a server, and a configuration for it."""

    def __init__(self, store: RecordStore, account: Live, folder: Path) -> None:
        self.store = store
        self.port = account.port
        self.folder = folder
        self.auditor: dict[str, Any] = {"hosts": "127.0.0.1", "port": account.port, "timeout": 10}
        self.email: dict[str, Any] = {}

    def report(self, *words: str, **auditor: Any) -> int:
        file = self.folder / "utilization.yml"
        options = {
            "auditor": {**self.auditor, **auditor},
            "utilization": {
                "groupedby": "user_id", "watt_per_core": 5, "co2_per_kwh": 0.4, "file_path": str(self.folder),
                "file_name": "usage",
            },
            "cluster": {"watt_per_core": {"site": {"B": 10}}},
            "email": self.email,
        }  # fmt: skip
        file.write_text(json.dumps(options))
        return program.main(["report", "utilization", "-c", str(file), *words])

    def rows(self, host: str = "127.0.0.1") -> list[list[str]]:
        with (self.folder / f"usage_{host}_3_2024.csv").open(newline="") as file:
            return list(csv.reader(file))


@pytest.fixture
def arranged(sqlite_url: str, tmp_path: Path) -> Iterator[Arranged]:
    store = open_store(sqlite_url)
    with live(store) as account:
        yield Arranged(store, account, tmp_path)
    store.close()


IN_MARCH = ("--month", "3", "--year", "2024")


def test_the_file_of_a_month_has_a_line_per_name(arranged: Arranged) -> None:
    arranged.store.put([job("1"), job("2", site="B"), job("3", user="bob", energy=720_000)])
    late = Record(
        "4", job("4").components, MARCH - timedelta(hours=9), {"user_id": ("ada",)}, MARCH - timedelta(hours=1)
    )
    arranged.store.put([late])
    assert arranged.report(*IN_MARCH) == 0
    assert arranged.rows() == [
        ["user", "khs23h", "cpu_eff", "corehours", "power [kWh]", "co2 [kg]"],
        ["ada", "0.48", "0.5", "40.0", "0.3", "0.12"],
        ["bob", "0.24", "0.5", "20.0", "0.2", "0.08"],
    ]


def test_a_month_begins_and_ends_in_utc_by_the_end_of_the_job(
    arranged: Arranged, capsys: pytest.CaptureFixture[str]
) -> None:
    end, moment = MARCH.replace(month=4), timedelta(microseconds=1)
    stops = (MARCH - moment, MARCH, end - moment, end)
    begins = [stop - timedelta(hours=1) for stop in stops]
    times = enumerate(zip(begins, stops, strict=True))
    arranged.store.put([replace(job(f"{n}"), start_time=begin, stop_time=stop) for n, (begin, stop) in times])
    assert arranged.report(*IN_MARCH, "--dry-run", "--json") == 0
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["jobs"] == 2


def test_processor_time_in_milliseconds_is_one_where_the_file_says_so(
    arranged: Arranged, capsys: pytest.CaptureFixture[str]
) -> None:
    arranged.store.put([job("1")])
    assert arranged.report(*IN_MARCH, "--dry-run", "--json", cpu_unit="milliseconds") == 0
    assert json.loads(capsys.readouterr().out)["efficiency"] == 0.0005


def test_the_month_before_this_one_is_the_default(arranged: Arranged, capsys: pytest.CaptureFixture[str]) -> None:
    last = datetime.now(UTC).replace(day=1) - timedelta(days=2)
    whole = job("1")
    arranged.store.put([Record("1", whole.components, last - timedelta(hours=10), whole.meta, last), job("2")])
    assert arranged.report("--dry-run", "--json") == 0
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["jobs"], line["corehours"], line["measured"]) == (1, 20.0, 0.0)
    assert not list(arranged.folder.glob("*.csv"))


def test_every_server_gets_its_file_also_when_another_is_away(arranged: Arranged, sqlite_url: str) -> None:
    arranged.store.put([job("1")])
    hosts = {"hosts": ["127.0.0.2", "127.0.0.1"], "port": [1, arranged.port], "timeout": 2}
    assert arranged.report("--oneshot", *IN_MARCH, **hosts) == 1
    assert len(arranged.rows()) == 2


def test_the_options_of_the_command_line_have_their_effect(arranged: Arranged) -> None:
    arranged.store.put([job("1")])
    wrong = {"hosts": ["127.0.0.2"], "port": [1]}
    words = ("--host", "127.0.0.1", "--port", str(arranged.port), "--timeout", "5", "--save_data")
    assert program.auditor_utilization_plugin(["-c", "/nowhere.yml"]) == 2
    assert arranged.report(*words, *IN_MARCH, **wrong) == 0
    assert len(arranged.rows()) == 2


@pytest.mark.parametrize("words", [("--month", "3"), ("--year", "2024"), ("--month", "13", "--year", "2024")])
def test_half_a_month_is_wrong_use(arranged: Arranged, words: tuple[str, ...]) -> None:
    assert arranged.report(*words) == 2


class _Inbox:
    """What the mail server took, and whether it came encrypted."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, bytes, bool]] = []
        self.logins: list[bytes] = []

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(envelope.content, bytes)
        self.mails.append((envelope.rcpt_tos[0], envelope.content, session.ssl is not None))
        return "250 taken"

    def log_in(self, *given: Any) -> AuthResult:
        data: LoginPassword = given[-1]
        self.logins.append(data.login)
        return AuthResult(success=data.password == b"secret")


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[_Inbox, Controller]]:
    certificate, key = made(ec.generate_private_key(ec.SECP256R1()), name="localhost")
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    taken = _Inbox()
    controller = Controller(
        taken,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        authenticator=taken.log_in,
    )
    controller.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    people = {"SENDER_EMAIL": "from@example.org", "PASSWORD": "secret", "RECEIVER_EMAIL": "to@example.org"}
    for name, value in people.items():
        monkeypatch.setenv(name, value)
    yield taken, controller
    controller.stop()


def test_the_report_goes_out_by_mail_encrypted_where_that_is_offered(
    arranged: Arranged, inbox: tuple[_Inbox, Controller]
) -> None:
    taken, controller = inbox
    arranged.store.put([job("1", user="<b>ada</b>")])
    arranged.email = {"enable_email_report": True, "smtp_server": "localhost", "smtp_port": controller.port}
    assert arranged.report(*IN_MARCH) == 0
    ((to, content, encrypted),) = taken.mails
    assert (to, encrypted, taken.logins) == ("to@example.org", True, [b"from@example.org"])
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert mail["Subject"] == "Monthly Utilisation Report"
    assert abs(mail["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    assert mail["Message-ID"]
    assert mail["Auto-Submitted"] == "auto-generated"
    page = mail.get_body(("html",))
    assert page is not None
    assert "&lt;b&gt;ada&lt;/b&gt;" in page.get_content()


def test_a_job_without_processor_time_is_no_idle_job(arranged: Arranged, capsys: pytest.CaptureFixture[str]) -> None:
    whole = job("1")
    arranged.store.put([whole, replace(job("2"), components=whole.components[:1])])
    assert arranged.report(*IN_MARCH) == 0
    assert arranged.rows()[1][2:4] == ["0.5", "40.0"]
    assert arranged.report(*IN_MARCH, "--dry-run") == 0
    assert "cpu_eff is of 1 of 2 jobs" in capsys.readouterr().out


def test_a_name_cannot_drive_the_terminal(arranged: Arranged, capsys: pytest.CaptureFixture[str]) -> None:
    arranged.store.put([job("1", user="\x1b[31m\u202eada")])
    assert arranged.report(*IN_MARCH, "--dry-run") == 0
    assert "\n\\x1b[31m\\u202eada," in capsys.readouterr().out


def test_a_mail_that_cannot_be_sent_costs_no_file(
    arranged: Arranged, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arranged.store.put([job("1")])
    arranged.email = {"enable_email_report": True, "smtp_server": "127.0.0.1", "smtp_port": 1}
    for name in ("SENDER_EMAIL", "PASSWORD", "RECEIVER_EMAIL"):
        monkeypatch.setenv(name, "x@example.org")
    assert arranged.report(*IN_MARCH) == 1
    assert "utilization.unmailed server=127.0.0.1:1 reason=" in capfd.readouterr().err
    monkeypatch.setenv("RECEIVER_EMAIL", "x@example.org\nBcc: y@example.org")
    assert arranged.report(*IN_MARCH) == 1
    monkeypatch.setenv("RECEIVER_EMAIL", "x@example.org")
    assert len(arranged.rows()) == 2
    monkeypatch.delenv("PASSWORD")
    assert arranged.report(*IN_MARCH) == 2
