"""OAR 3's own tables, as its models declare them (oar/lib/models.py of the published source): nearly all may be null.

The rows are those of a real OAR 2.6.1, whose tables hold the same columns, and rows that only OAR 3's tables allow.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from jobmeter.model.period import Period
from jobmeter.observe.batch.oar import Settings
from jobmeter.settings.load import load
from jobmeter.wire.auditor import encode_record, parse_time
from tests.observe.oar_answers import source
from tests.postgresql import PrivatePostgresql, folder_of_binaries

CASE = Path(__file__).parents[1] / "cases" / "oar" / "2.6.1-cgroupv2"
EVERYTHING = Period(parse_time("2000-01-01T00:00:00Z"), parse_time("2026-11-21T12:00:00Z"))

_WORD, _SHORT, _FLAG = "varchar(255) DEFAULT ''", "varchar(100) DEFAULT ''", "varchar(3) DEFAULT 'NO'"
_ZERO = "integer DEFAULT 0"
TABLES = {
    "jobs": {
        "job_id": "serial PRIMARY KEY", "array_id": _ZERO, "array_index": "integer DEFAULT 1",
        "initial_request": "text",
        "job_name": "varchar(100)", "job_env": "text", "job_type": "varchar(11) DEFAULT 'PASSIVE'",
        "info_type": "varchar(255)", "state": "varchar(16) DEFAULT 'Waiting'",
        "reservation": "varchar(10) DEFAULT 'None'",
        "message": _WORD, "scheduler_info": _WORD, "job_user": _WORD, "project": _WORD, "job_group": _WORD,
        "command": "text", "exit_code": "integer", "queue_name": _SHORT, "properties": "text",
        "launching_directory": "text", "submission_time": _ZERO, "start_time": _ZERO, "stop_time": _ZERO,
        "file_id": "integer", "accounted": _FLAG, "notify": "varchar(255)", "assigned_moldable_job": _ZERO,
        "checkpoint": _ZERO, "checkpoint_signal": "integer", "stdout_file": "text", "stderr_file": "text",
        "resubmit_job_id": _ZERO, "suspended": _FLAG,
    },
    "assigned_resources": {
        "moldable_job_id": "integer NOT NULL DEFAULT 0", "resource_id": "integer NOT NULL DEFAULT 0",
        "assigned_resource_index": "varchar(7) DEFAULT 'CURRENT'",
    },
    "moldable_job_descriptions": {
        "moldable_id": "serial PRIMARY KEY", "moldable_job_id": _ZERO, "moldable_walltime": _ZERO,
        "moldable_index": "varchar(7) DEFAULT 'CURRENT'",
    },
    "resources": {
        "resource_id": "serial PRIMARY KEY", "type": "varchar(100) DEFAULT 'default'", "network_address": _SHORT,
        "state": "varchar(9) DEFAULT 'Alive'", "next_state": "varchar(9) DEFAULT 'UnChanged'", "finaud_decision": _FLAG,
        "next_finaud_decision": _FLAG, "state_num": _ZERO, "suspended_jobs": _FLAG,
        "scheduler_priority": "bigint DEFAULT 0", "cpuset": "varchar(255) DEFAULT '0'",
        "besteffort": "varchar(3) DEFAULT 'YES'", "deploy": _FLAG, "expiry_date": _ZERO, "desktop_computing": _FLAG,
        "last_job_date": _ZERO, "available_upto": "integer DEFAULT 2147483647", "last_available_upto": _ZERO,
        "drain": _FLAG, "host": "varchar(255)", "cpu": "integer", "core": "integer", "mem": "integer",
    },
    "job_types": {
        "job_type_id": "serial PRIMARY KEY", "job_id": _ZERO, "type": _WORD,
        "types_index": "varchar(7) DEFAULT 'CURRENT'",
    },
    "event_logs": {
        "event_id": "serial PRIMARY KEY", "type": _SHORT, "job_id": _ZERO, "date": _ZERO, "description": _WORD,
        "to_check": "varchar(3) DEFAULT 'YES'",
    },
    "job_state_logs": {
        "job_state_log_id": "serial PRIMARY KEY", "job_id": _ZERO, "job_state": "varchar(16) DEFAULT 'Waiting'",
        "date_start": _ZERO, "date_stop": _ZERO,
    },
}  # fmt: skip
"""Columns with types and defaults. `host` to `mem` are properties, which an operator adds."""


@pytest.fixture
def oar3(postgresql: PrivatePostgresql) -> str:
    """A database with OAR 3's tables and the rows of the recorded OAR."""
    url = postgresql.new_database(empty=True)
    with psycopg.connect(url) as connection:
        for table, columns in TABLES.items():
            declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            connection.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(table), sql.SQL(declared)))
            with (CASE / "tables" / f"{table}.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
            for row in rows:
                given = {name: value for name, value in row.items() if value != ""}
                assert given.keys() <= columns.keys()
                _insert(connection, table, given)
    return url


def _insert(connection: psycopg.Connection[Any], table: str, row: dict[str, Any]) -> None:
    names, values = sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Placeholder, row))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), names, values)
    connection.execute(statement, row)


def _read(url: str) -> tuple[dict[str, Any], list[str], dict[str, int]]:
    psql = shutil.which("psql") or str(folder_of_binaries() / "psql")
    given = {"read_from": "database", "psql_path": psql, "database": url, "slice_seconds": str(10**9)}
    environment = {f"O_{key.upper()}": value for key, value in given.items()}
    settings = load(Settings, file=CASE / "settings.yml", environment=environment, prefix="O_").settings
    batches = list(source(settings).read(None, EVERYTHING))
    records = [json.loads(encode_record(record)) for batch in batches for record in batch.records]
    refused = [entry.reason for batch in batches for entry in batch.refused]
    ignored = {reason: count for batch in batches for reason, count in batch.ignored.items()}
    return {record["record_id"]: record for record in records}, refused, ignored


def test_the_jobs_in_the_tables_of_oar_3_become_the_records_of_oar_2(oar3: str) -> None:
    expected = json.loads((CASE / "expected-database.json").read_text())["records"]
    records, refused, ignored = _read(oar3)
    assert (records, refused, ignored) == ({record["record_id"]: record for record in expected}, [], {})


def test_nulls_that_only_oar_3_allows_are_absent_and_stop_no_other_job(oar3: str) -> None:
    before, _, _ = _read(oar3)
    stop = 1_795_229_000
    with psycopg.connect(oar3) as connection:
        _insert(connection, "resources", {"resource_id": 90, "type": "default", "network_address": None, "core": 7})
        for number, more in (
            (91, {"job_user": "zoë", "message": None, "queue_name": "default", "project": None, "job_name": None}),
            (92, {"job_user": None}),
            (93, {"job_user": "eve", "start_time": None, "stop_time": None, "submission_time": stop}),
        ):
            given = {"state": "Terminated", "start_time": stop - 60, "stop_time": stop, "submission_time": stop - 70}
            _insert(connection, "jobs", {"job_id": number, "assigned_moldable_job": number, **given, **more})
            _insert(connection, "moldable_job_descriptions", {"moldable_id": number, "moldable_job_id": number})
            for resource in (1, 90):
                _insert(connection, "assigned_resources", {"moldable_job_id": number, "resource_id": resource})
            _insert(connection, "job_types", {"job_type_id": number, "job_id": number, "type": None})
            _insert(connection, "event_logs", {"event_id": number, "job_id": number, "type": None})
    records, refused, ignored = _read(oar3)
    assert before.items() <= records.items()
    ours = records["oar-91"]
    assert ours["meta"]["user_id"] == ["zoë"]
    assert ours["meta"]["nodes"] == ["vmc"]
    assert not {"group_id", "name"} & ours["meta"].keys()
    assert {part["name"]: part["amount"] for part in ours["components"]}["CoreSeconds"] == 120
    assert len(records) == len(before) + 1
    assert refused == ["the column job_user is empty"]
    assert ignored == {"never started": 1}
