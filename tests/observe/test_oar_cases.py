"""Golden cases: what a real OAR printed and kept, and the records that must come of it, by either way of reading."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections import Counter
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

CASES = Path(__file__).parents[1] / "cases" / "oar"
_EVERYTHING = Period(parse_time("2000-01-01T00:00:00Z"), parse_time("2026-11-21T12:00:00Z"))
_COLUMN = re.compile(r" (\w+) +\| ([a-z ]+(?:\(\d+\))?) +\|")


def _forms(case: Path) -> list[str]:
    database = (case / "psql.txt").exists() or (case / "tables").exists()
    return ["oarstat", *(["database"] if database else [])]


ALL = [(case.name, form) for case in sorted(CASES.iterdir()) for form in _forms(case)]


def command(path: Path, file: Path) -> str:
    """A command that prints a file."""
    path.write_text(f"#!/bin/sh\nexec cat {file}\n")
    path.chmod(0o755)
    return str(path)


def _psql(case: Path, folder: Path, postgresql: PrivatePostgresql) -> dict[str, str]:
    """Settings for the database of a case: its recorded tables in a real one, or what psql was recorded to print."""
    if (case / "psql.txt").exists():
        return {"psql_path": command(folder / "psql", case / "psql.txt")}
    url = postgresql.new_database(empty=True)
    with psycopg.connect(url) as connection:
        for file in sorted((case / "tables").glob("*.csv")):
            columns = _COLUMN.findall(file.with_suffix(".txt").read_text())
            declared = ", ".join(f"{name} {kind}" for name, kind in columns)
            connection.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(file.stem), sql.SQL(declared)))
            statement = sql.SQL("COPY {} FROM STDIN (FORMAT csv, HEADER)").format(sql.Identifier(file.stem))
            with connection.cursor().copy(statement) as copy:
                copy.write(file.read_bytes())
    return {"psql_path": shutil.which("psql") or str(folder_of_binaries() / "psql"), "database": url}


def _outcome(settings: Settings) -> dict[str, Any]:
    batches = list(source(settings).read(None, _EVERYTHING))
    ignored: dict[str, int] = {}
    for batch in batches:
        for reason, count in batch.ignored.items():
            ignored[reason] = ignored.get(reason, 0) + count
    records = [json.loads(encode_record(record)) for batch in batches for record in batch.records]
    return {
        "records": sorted(records, key=lambda record: str(record["record_id"])),
        "refused": sorted(entry.reason for batch in batches for entry in batch.refused),
        "ignored": dict(sorted(ignored.items())),
    }


@pytest.mark.parametrize(("name", "form"), ALL)
def test_what_was_recorded_becomes_the_expected_records(
    name: str, form: str, tmp_path: Path, postgresql: PrivatePostgresql
) -> None:
    case = CASES / name
    options = {"read_from": form, "slice_seconds": str(10**9)}
    if form == "oarstat":
        options |= {f"{each}_path": command(tmp_path / each, case / f"{each}.json") for each in ("oarstat", "oarnodes")}
    else:
        options |= _psql(case, tmp_path, postgresql)
    environment = {f"O_{key.upper()}": value for key, value in options.items()}
    found = _outcome(load(Settings, file=case / "settings.yml", environment=environment, prefix="O_").settings)
    expected = case / f"expected-{form}.json"
    if os.environ.get("JOBMETER_ACCEPT_CASES"):
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())


def test_both_ways_of_reading_were_recorded_to_give_equal_records() -> None:
    oarstat, database = (json.loads((CASES / "2.5.9-endings" / f"expected-{form}.json").read_text()) for form in (
        "oarstat", "database"))  # fmt: skip
    assert oarstat == database
    assert len(oarstat["records"]) > 15


@pytest.mark.parametrize("name", ["2.5.9-cgroupv1", "2.6.1-cgroupv2"])
def test_the_records_sum_up_to_what_oar_itself_accounted(name: str) -> None:
    ours: Counter[tuple[str, str, str]] = Counter()
    for record in json.loads((CASES / name / "expected-database.json").read_text())["records"]:
        meta, amounts = record["meta"], {each["name"]: each["amount"] for each in record["components"]}
        ours[meta["user_id"][0], meta["group_id"][0], meta["queue"][0]] += amounts["CoreSeconds"]
    with (CASES / name / "accounting.csv").open() as file:
        used = [row for row in csv.DictReader(file) if row["consumption_type"] == "USED"]
    theirs = {
        (row["accounting_user"], row["accounting_project"], row["queue_name"]): int(row["consumption"]) for row in used
    }
    assert ours == theirs
