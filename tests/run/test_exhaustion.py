"""What runs out: the disk, the connections of the database, the patience with readers. Bounded, told, recovered."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.clients.server import LiveServer, live
from tests.process import PATIENCE_SECONDS, eventually
from tests.run.test_serve import command, environment

READERS = 40
RECORDS = 3000


def post(server: LiveServer, names: list[str]) -> int | None:
    """The status, None when the connection was closed without an answer."""
    meta = {"nodes": ["n" * 200] * 20}
    times = {"start_time": "2024-01-01T00:00:00Z", "stop_time": "2024-01-01T01:00:00Z"}
    body = json.dumps([{"record_id": name, "components": [], "meta": meta, **times} for name in names])
    with closing(http.client.HTTPConnection(server.address, server.port, timeout=PATIENCE_SECONDS)) as connection:
        try:
            connection.request("POST", "/records", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return None
        return answer.status


def metrics(server: LiveServer) -> str:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=PATIENCE_SECONDS) as answer:
        text: str = answer.read().decode()
    return text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_takes_nothing_more_keeps_all_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    with live(small_disk) as server:
        acknowledged = []
        number = 0
        while (status := post(server, [f"r{number}"])) == 200:
            acknowledged.append(f"r{number}")
            number += 1
            assert number < 2000
        assert status is None
        assert "jobmeter_writes_unanswered_total 1.0" in metrics(server)
        assert {record["record_id"] for record in server.records()} == set(acknowledged)
        subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
        assert post(server, [f"r{number}"]) == 200
        assert len(server.records()) == number + 1


def stopped_reader(server: LiveServer) -> socket.socket:
    """A reader that asks for all records and takes nothing of the answer."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(PATIENCE_SECONDS)
    reader.connect((server.address, server.port))
    reader.sendall(b"GET /records HTTP/1.1\r\nhost: x\r\n\r\n")
    return reader


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_readers_that_stop_reading_are_bounded_cut_off_and_keep_nobody_from_writing(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "c.toml").write_text("limits = { reader_seconds = 10, streams = 8 }\n")
    url = request.getfixturevalue(f"{database}_url")
    with live(tmp_path, ["--database", url, str(tmp_path / "c.toml")]) as server:
        for start in range(0, RECORDS, 300):
            assert post(server, [f"r{number}" for number in range(start, start + 300)]) == 200
        assert server._process is not None
        process = psutil.Process(server._process.pid)
        before = process.memory_info().rss
        readers = [stopped_reader(server) for _ in range(READERS)]
        assert post(server, ["meanwhile"]) == 200
        assert process.memory_info().rss - before < 100 * 2**20
        eventually(lambda: 'jobmeter_streams_broken_total{cause="reader too slow"} 8.0' in metrics(server))
        heads = [reader.recv(12) for reader in readers]
        assert heads.count(b"HTTP/1.1 200") == 8
        assert heads.count(b"HTTP/1.1 503") == READERS - 8
        for reader in readers:
            reader.close()
        assert len(server.records()) == RECORDS + 1


def test_a_configuration_without_authentication_does_not_start_beyond_loopback(tmp_path: Path) -> None:
    done = subprocess.run(
        command(["serve", "--host", "0.0.0.0", "--port", "0"]),
        cwd=tmp_path,
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "--require-authentication" in done.stderr
