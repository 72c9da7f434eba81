"""`jobmeter archive`, and a server that archives by itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from jobmeter.model.question import Question
from jobmeter.observe.host import SystemClock
from jobmeter.run.commands.archive import declare, execute
from jobmeter.run.server.archiving import ArchiveShown, scheduled_archive
from jobmeter.serve.archive_settings import ArchivalConfig, ArchiveSettings
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import Beside
from jobmeter.store.open import ArchivingStore, open_store
from tests.given import ALL, lines
from tests.serve.live import live, until
from tests.store.archive.material import job, mixed


@pytest.fixture
def store(sqlite_url: str) -> Iterator[ArchivingStore]:
    opened = open_store(sqlite_url)
    opened.put(mixed())
    yield opened
    opened.close()


def run(url: str, *words: str) -> int:
    parser = argparse.ArgumentParser(exit_on_error=False)
    declare(parser)
    return execute(parser.parse_args([words[0], "--database", url, *words[1:]]))


def test_run_list_verify_and_import_go_round(
    store: ArchivingStore, sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lines(store, Question(ALL))
    assert run(sqlite_url, "run", "--older-than-months", "0", "--dry-run") == 0
    assert "would archive" in capsys.readouterr().out
    assert not (tmp_path / "archive").exists()
    assert run(sqlite_url, "run", "--older-than-months", "0") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("archived ")
    assert run(sqlite_url, "list", "--json") == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(file["records"] for file in listed) == len(before) - 1
    assert run(sqlite_url, "list") == 0
    assert capsys.readouterr().out.splitlines()[0].split()[0] == "FILE"
    assert run(sqlite_url, "verify") == 0
    assert capsys.readouterr().out.count("sound") == len(listed)
    assert run(sqlite_url, "import", listed[0]["path"]) == 0
    assert "in the database again" in capsys.readouterr().out
    assert lines(store, Question(ALL)) == before


def test_verify_tells_a_file_that_changed_and_one_that_is_gone(
    store: ArchivingStore, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(sqlite_url, "run", "--older-than-months", "0")
    first, second, *_ = store.archived_files()
    content = bytearray(Path(first.path).read_bytes())
    content[100] ^= 1
    Path(first.path).write_bytes(content)
    Path(second.path).unlink()
    capsys.readouterr()
    assert run(sqlite_url, "verify") == 1
    told = capsys.readouterr().out
    assert f"{first.path}: its SHA-256 is" in told
    assert "is missing" in told


def test_a_file_of_another_database_is_imported(
    store: ArchivingStore, sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = open_store(f"sqlite:///{tmp_path / 'other.db'}", migrate=True)
    run(sqlite_url, "run", "--older-than-months", "0")
    before = lines(store, Question(ALL))
    for file in store.archived_files():
        assert run(f"sqlite:///{tmp_path / 'other.db'}", "import", file.path) == 0
    assert "conflict" in capsys.readouterr().out
    assert lines(other, Question(ALL)) == [line for line in before if b'"running"' not in line]
    other.close()


def test_a_file_of_auditor_is_imported(sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "auditor_2024_01.parquet"
    with duckdb.connect() as writer:
        writer.execute(
            "COPY (SELECT 'r-' || i AS record_id, CASE WHEN i = 1 THEN 'null' ELSE '{\"site\":[\"A\"]}' END AS meta, "
            '\'[{"name":"Cores","amount":8,"scores":[{"name":"HS","value":1.5}]}]\' AS components, '
            "TIMESTAMPTZ '2024-01-01 00:00:00Z'::TIMESTAMP_MS AS start_time, "
            "TIMESTAMPTZ '2024-01-01 01:00:00.5Z'::TIMESTAMP_MS AS stop_time, 3600 AS runtime "
            "FROM range(3) t(i) "
            "UNION ALL SELECT '', 'null', '[]', TIMESTAMP_MS '2024-01-01', TIMESTAMP_MS '2024-01-01', 0) "
            "TO $target (FORMAT parquet)",
            {"target": str(path)},
        )
    assert run(sqlite_url, "import", str(path)) == 1
    told = capsys.readouterr()
    assert "3 new, 0 same, 0 conflict, 1 refused" in told.out
    assert "record_id: is blank" in told.err
    assert run(sqlite_url, "import", str(path)) == 1
    assert "0 new, 3 same" in capsys.readouterr().out
    store = open_store(sqlite_url)
    body = store.one("r-0", ALL) or b""
    store.close()
    assert b'"stop_time":"2024-01-01T01:00:00.500Z","runtime":3600' in body
    assert b'"meta":{"site":["A"]},"components":[{"name":"Cores","amount":8' in body


def test_what_is_no_archive_file_is_wrong_use(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(sqlite_url, "import", str(tmp_path / "absent.parquet")) == 2
    with duckdb.connect() as writer:
        writer.execute("COPY (SELECT 1 AS one) TO $target (FORMAT parquet)", {"target": str(tmp_path / "x.parquet")})
    assert run(sqlite_url, "import", str(tmp_path / "x.parquet")) == 2
    assert "is no archive file" in capsys.readouterr().err
    (tmp_path / "y.parquet").write_bytes(b"nonsense")
    assert run(sqlite_url, "import", str(tmp_path / "y.parquet")) == 1


def test_without_a_policy_nothing_is_archived(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(sqlite_url, "run") == 2
    assert "archive.older_than_months" in capsys.readouterr().err
    config = tmp_path / "c.yaml"
    config.write_text("archival_config:\n  archive_older_than_months: 1\n")
    assert run(sqlite_url, "run", "--config", str(config)) == 2
    assert "archival_config.archive_path is missing" in capsys.readouterr().err


def test_auditors_configuration_is_kept(
    store: ArchivingStore, sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        f"archival_config:\n  archive_older_than_months: 3\n  archive_path: {tmp_path / 'there'}\n"
        '  cron_schedule: "0 0 2 1 * *"\n  compression_type: Snappy\n'
    )
    store.put([job("old", datetime(2020, 1, 5, tzinfo=UTC))])
    assert run(sqlite_url, "run", "--config", str(config)) == 0
    assert (tmp_path / "there" / "auditor_2020_01.parquet").exists()
    assert "archived" in capsys.readouterr().out


def test_a_server_archives_by_its_schedule_and_tells_it(store: ArchivingStore, sqlite_url: str, tmp_path: Path) -> None:
    settings = ServeSettings(archive=ArchiveSettings(0, cron_schedule="* * * * * *"))
    scheduled = scheduled_archive(store, settings, sqlite_url)
    assert scheduled is not None
    before = lines(store, Question(ALL))
    with live(store, beside=Beside(archive=ArchiveShown(store, scheduled))) as server:
        assert "archived records" in server.ask("GET", "/health").body.decode()
        server.app.tell(scheduled.meter)
        scheduled.start()
        until(lambda: server.metric("jobmeter_archive_last_success_timestamp_seconds") > 0)
        scheduled.stop()
        state = ArchiveShown(store, scheduled).state(SystemClock().now())
        assert (state.records, state.months) == (len(before) - 1, 0)
        assert state.succeeded is not None
        assert state.due is not None
        assert server.metric("jobmeter_archive_records") == len(before) - 1
        assert server.metric("jobmeter_archive_files") == len(list((tmp_path / "archive").glob("*.parquet")))
        assert server.metric("jobmeter_archive_bytes") > 1000
        assert server.metric("jobmeter_archive_failures_total") == 0
    assert lines(store, Question(ALL)) == before


def test_a_run_that_fails_is_told_and_tried_again(store: ArchivingStore, sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file where the folder should be")
    settings = ServeSettings(archive=ArchiveSettings(0, cron_schedule="* * * * * *"))
    scheduled = scheduled_archive(store, settings, sqlite_url)
    assert scheduled is not None
    with live(store) as server:
        server.app.tell(scheduled.meter)
        scheduled.start()
        until(lambda: server.metric("jobmeter_archive_failures_total") > 1)
        (tmp_path / "archive").unlink()
        until(lambda: server.metric("jobmeter_archive_last_success_timestamp_seconds") > 0)
        scheduled.stop()


def test_auditors_configuration_archives_at_the_start(store: ArchivingStore, sqlite_url: str, tmp_path: Path) -> None:
    config = ArchivalConfig(0, str(tmp_path / "there"), cron_schedule="0 0 0 1 1 *")
    scheduled = scheduled_archive(store, ServeSettings(archival_config=config), sqlite_url)
    assert scheduled is not None
    scheduled.start()
    until(lambda: len(store.archived_files()) > 0)
    scheduled.stop()
    assert SystemClock().now().tzinfo is not None
