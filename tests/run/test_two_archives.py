"""Two servers, each a process of its own, that archive one PostgreSQL database into one folder."""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobmeter.store.open import open_store
from jobmeter.wire.auditor import encode_record
from tests.clients.server import LiveServer, live
from tests.process import PATIENCE_SECONDS, eventually
from tests.store.archive.material import job

OLD = datetime(2025, 1, 10, tzinfo=UTC)
BATCHES = 8
BATCH = 250


def post(server: LiveServer, first: int) -> None:
    records = [job(f"r{number}", OLD + timedelta(hours=number % 700)) for number in range(first, first + BATCH)]
    body = b"[" + b",".join(map(encode_record, records)) + b"]"
    request = urllib.request.Request(f"{server.url}/records", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        assert answer.status == 200


def archived_records(server: LiveServer) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=PATIENCE_SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("jobmeter_archive_records "))


def test_two_servers_archive_each_record_once_while_more_come_in(postgresql_url: str, tmp_path: Path) -> None:
    settings = tmp_path / "server.toml"
    settings.write_text(
        f'[archive]\nolder_than_months = 1\npath = "{tmp_path / "archive"}"\ncron_schedule = "* * * * * *"\n'
    )
    options = [str(settings), "--database", postgresql_url]
    with live(tmp_path / "one", options) as one, live(tmp_path / "two", options) as two:
        for number in range(BATCHES):
            post((one, two)[number % 2], number * BATCH)
        for server in (one, two):
            eventually(lambda server=server: archived_records(server) == BATCHES * BATCH, "all are archived")  # type: ignore[misc]
            found = [record["record_id"] for record in server.records()]
            assert sorted(found) == sorted(f"r{number}" for number in range(BATCHES * BATCH))
    said = [(tmp_path / name / "server.out").read_text() for name in ("one", "two")]
    assert "archive.failed" not in "".join(said)
    store = open_store(postgresql_url, archive_folder=tmp_path / "archive")
    try:
        assert sum(file.records for file in store.archived_files()) == BATCHES * BATCH
        assert store.check_rollups() == []
    finally:
        store.close()
