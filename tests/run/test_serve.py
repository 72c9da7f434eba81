from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobmeter.run.commands import serve
from jobmeter.run.server.settings import load_settings
from jobmeter.settings.fault import SettingsFaulty
from tests.postgresql import PrivatePostgresql
from tests.process import PATIENCE_SECONDS, eventually, free_port

SOURCE = Path(__file__).parents[2] / "src"
READY = re.compile(r"jobmeter is ready at http://127\.0\.0\.1:(\d+)")


class Serving:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], said: list[str]) -> None:
        self.process = process
        self.said = said
        match = READY.search(said[-1])
        assert match is not None, said
        self.port = int(match[1])

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE_SECONDS) as answer:
            body: bytes = answer.read()
        return body

    def records(self) -> set[str]:
        return {json.loads(line)["record_id"] for line in self.get("/records").splitlines()}

    def status(self, path: str) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status

    def post(self, record_id: str) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)) as connection:
            return posted(connection, record_id)


def posted(connection: http.client.HTTPConnection, record_id: str) -> int:
    body = json.dumps({"record_id": record_id, "components": [], "start_time": "2024-01-01T00:00:00Z"})
    connection.request("POST", "/record", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def command(words: Sequence[str], name: str = "main") -> list[str]:
    return [sys.executable, "-c", f"import sys; from jobmeter.run import main; sys.exit(main.{name}())", *words]


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), **extra}


@contextmanager
def serving(*words: str, folder: Path, name: str = "main", extra: Mapping[str, str] = {}) -> Iterator[Serving]:
    process = subprocess.Popen(
        command(words, name),
        cwd=folder,
        env=environment(extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = []
        while line := process.stdout.readline():
            said.append(line.strip())
            if READY.search(line):
                break
        yield Serving(process, said)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def refused(*words: str, folder: Path, extra: Mapping[str, str] = {}) -> tuple[int, str]:
    done = subprocess.run(
        command(words),
        cwd=folder,
        env=environment(extra),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_it_says_one_line_when_ready_and_keeps_its_records_under_the_data_folder(tmp_path: Path) -> None:
    with serving("serve", "--port", "0", "--data", "kept", folder=tmp_path) as server:
        assert len(server.said) == 1
        assert server.post("r1") == 200
    assert (tmp_path / "kept" / "records.db").exists()
    with serving("serve", "--port", "0", "--data", "kept", folder=tmp_path) as server:
        assert server.records() == {"r1"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_with_exit_code_0(tmp_path: Path, number: signal.Signals) -> None:
    with serving("serve", "--port", "0", folder=tmp_path) as server:
        server.post("r1")
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE_SECONDS) == 0


def test_every_acknowledged_record_survives_kill_9_under_load(tmp_path: Path) -> None:
    acknowledged: list[str] = []

    def load(worker: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
        with closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            for number in range(100_000):
                record_id = f"r-{worker}-{number}"
                if posted(connection, record_id) == 200:
                    acknowledged.append(record_id)

    with serving("serve", "--port", "0", folder=tmp_path) as server:
        threads = [threading.Thread(target=load, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 200:
            time.sleep(0.01)
        server.process.kill()
        for thread in threads:
            thread.join()
    with serving("serve", "--port", "0", folder=tmp_path) as server:
        assert set(acknowledged) <= server.records()


def test_what_is_in_progress_is_finished_at_a_stop(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    refused_count = 0

    def load(worker: int) -> None:
        nonlocal refused_count
        for number in range(100_000):
            try:
                status = server.post(f"r-{worker}-{number}")
            except (OSError, http.client.HTTPException):
                return
            if status != 200:
                refused_count += 1
            acknowledged.append(f"r-{worker}-{number}")

    with serving("serve", "--port", "0", folder=tmp_path) as server:
        threads = [threading.Thread(target=load, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 50:
            time.sleep(0.01)
        server.process.terminate()
        assert server.process.wait(PATIENCE_SECONDS) == 0
        for thread in threads:
            thread.join()
    assert refused_count == 0
    with serving("serve", "--port", "0", folder=tmp_path) as server:
        assert set(acknowledged) <= server.records()


def test_a_port_that_is_taken_ends_it_with_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        code, said = refused("serve", "--port", port, folder=tmp_path)
    assert code == 1
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in said


@pytest.mark.parametrize(
    ("url", "code"), [("mysql://x/y", 2), ("sqlite:///", 2), ("sqlite:////proc/none/records.db", 1)]
)
def test_a_database_that_cannot_be_opened_ends_it_with_a_sentence(tmp_path: Path, url: str, code: int) -> None:
    got, said = refused("serve", "--port", "0", "--database", url, folder=tmp_path)
    assert got == code
    assert "Traceback" not in said
    assert said.strip()


def test_it_does_not_listen_beyond_this_machine_unless_told_so(tmp_path: Path) -> None:
    code, said = refused("serve", "--port", "0", "--host", "0.0.0.0", folder=tmp_path)
    assert code == 2
    assert serve.REMOTE_FLAG in said
    words = ("serve", "--port", "0", "--host", "0.0.0.0", serve.REMOTE_FLAG)
    process = subprocess.Popen(command(words), cwd=tmp_path, env=environment({}), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert "ready at http://0.0.0.0:" in process.stdout.readline()
    finally:
        process.terminate()
        process.communicate()


AUDITOR_YAML = """
application:
  addr: [127.0.0.1]
  port: 0
database:
  host: 127.0.0.1
  port: {port}
  username: auditor
  password: "0123"
  database_name: auditor
  require_ssl: false
metrics:
  database:
    frequency: 30
    metrics: [RecordCount]
log_level: info
tls_config:
  use_tls: false
"""


def test_auditors_name_and_file_start_without_a_database_and_writes_get_no_answer(tmp_path: Path) -> None:
    (tmp_path / "auditor.yaml").write_text(AUDITOR_YAML.format(port=free_port()))
    with serving("auditor.yaml", folder=tmp_path, name="auditor") as server:
        assert server.status("/health_check") == 500
        assert server.status("/records") == 503
        with pytest.raises((ConnectionError, http.client.BadStatusLine)):
            server.post("r1")


def test_a_database_that_comes_late_is_found(tmp_path: Path, postgresql: PrivatePostgresql) -> None:
    url = postgresql.new_database()
    postgresql.stop()
    with contextlib.ExitStack() as restart:
        restart.callback(postgresql.start)
        with serving("serve", "--port", "0", "--database", url, folder=tmp_path) as server:
            assert server.status("/health_check") == 500
            restart.close()
            eventually(lambda: server.status("/health_check") == 200)
            assert server.post("r1") == 200
            assert server.records() == {"r1"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("tls_config:\n  use_tls: true\n", "tls_config.server_cert_path"),
        ("rbac_config:\n  data_access_rules: [{reader_cn: a, meta_info: {}}]\n", "meta_info"),
        (
            "rbac_config:\n  write_access_cn: [a]\n  base_policies: [[write_access_base, /record, POST]]\n",
            "a may do a part of write only",
        ),
        ("archival_config:\n  archive_older_than_months: 3\n  anything: else\n", "archival_config"),
    ],
)
def test_protection_that_is_asked_for_and_not_there_stops_the_start(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    code, said = refused("serve", "c.yaml", "--port", "0", folder=tmp_path)
    assert code == 2
    assert key in said


def test_every_fault_of_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("application:\n  port: 99999\nmetrics:\n  databse: {}\n")
    code, said = refused("serve", "c.yaml", folder=tmp_path)
    assert code == 2
    assert "c.yaml:2: application.port" in said
    assert "c.yaml:4: metrics.databse" in said
    code, said = refused("serve", "absent.yaml", folder=tmp_path)
    assert code == 2
    assert "no such file" in said


def layered(folder: Path, base: str, local: str, production: str) -> None:
    (folder / "configuration").mkdir()
    for name, text in {"base": base, "local": local, "production": production}.items():
        (folder / "configuration" / f"{name}.yaml").write_text(text)


def settings(folder: Path, config: Path | None, variables: Mapping[str, str]) -> Any:
    return load_settings(config, variables, folder, as_auditor=True).settings


def test_later_layers_win_and_tables_are_merged(tmp_path: Path) -> None:
    layered(
        tmp_path,
        "application: {port: 1}\ndatabase: {host: base, username: base, password: '01'}\n",
        "application: {addr: ['::1']}\ndatabase: {host: local}\n",
        "application: {addr: [0.0.0.0]}\n",
    )
    config = tmp_path / "c.toml"
    config.write_text("[database]\nport = 6000\n")
    found = settings(tmp_path, config, {"AUDITOR_DATABASE__USERNAME": "007", "JOBMETER_DATABASE__DATABASE_NAME": "j"})
    assert (found.application.addr, found.application.port) == (("::1",), 1)
    database = found.database
    assert (database.host, database.username, database.password) == ("local", "007", "01")
    assert (database.port, database.database_name) == (6000, "j")
    assert settings(tmp_path, None, {"AUDITOR_ENVIRONMENT": "Production"}).application.addr == ("0.0.0.0",)
    with pytest.raises(SettingsFaulty, match="neither local nor production"):
        settings(tmp_path, None, {"AUDITOR_ENVIRONMENT": "staging"})


def test_our_variables_win_over_auditors(tmp_path: Path) -> None:
    variables = {"AUDITOR_APPLICATION__PORT": "1", "JOBMETER_APPLICATION__PORT": "2"}
    assert settings(tmp_path, None, variables).application.port == 2


def test_variables_of_a_container_platform_are_noted_and_ignored(tmp_path: Path) -> None:
    variables = {
        "AUDITOR_SERVICE_HOST": "10.0.0.1",
        "AUDITOR_PORT": "tcp://10.0.0.1:8000",
        "AUDITOR_ENVIRONMENT": "local",
    }
    loaded = load_settings(None, variables, tmp_path)
    assert loaded.settings.application.port == 8000
    assert sorted(note.split()[2].rstrip(":") for note in loaded.notes) == ["AUDITOR_PORT", "AUDITOR_SERVICE_HOST"]


def test_the_command_line_wins(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("application: {port: 1}\ndatabase: {host: h}\n")
    with serving("serve", "c.yaml", "--port", "0", "--database", "sqlite:///own.db", folder=tmp_path) as server:
        assert server.post("r1") == 200
    assert (tmp_path / "own.db").exists()


def test_a_log_file_holds_what_is_logged(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("logging: {log_to_file: true, log_dir: kept, log_file_prefix: server}\n")
    with serving("serve", "c.yaml", "--port", "0", folder=tmp_path) as server:
        assert server.post("r1") == 200
    assert "store.migrated" in (tmp_path / "kept" / "server.log").read_text()
