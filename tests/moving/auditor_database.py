"""Databases as AUDITOR's migrations leave them, in both generations, and rows as its server writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg

Json = dict[str, Any]

TABLES = """
    CREATE TYPE score AS (name text, value double precision);
    CREATE TYPE component AS (name text, amount bigint, scores score[]);
    CREATE TABLE accounting (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, record_id text NOT NULL UNIQUE,
        start_time timestamptz NOT NULL, stop_time timestamptz, runtime bigint, updated_at timestamptz NOT NULL);
    CREATE TABLE meta (
        record_id text NOT NULL REFERENCES accounting (record_id), key text NOT NULL, value text NOT NULL,
        PRIMARY KEY (record_id, key, value));
    CREATE TABLE components (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, amount bigint NOT NULL);
    CREATE TABLE scores (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, value double precision NOT NULL,
        UNIQUE (name, value));
    CREATE TABLE components_scores (
        id int GENERATED ALWAYS AS IDENTITY, component_id int NOT NULL REFERENCES components (id),
        score_id int NOT NULL REFERENCES scores (id));
    CREATE TABLE records_components (
        record_id int NOT NULL REFERENCES accounting (id), component_id int NOT NULL REFERENCES components (id));
"""

JSONB = """
    CREATE TYPE score AS (name text, value double precision);
    CREATE TYPE component AS (name text, amount bigint, scores score[]);
    CREATE TABLE auditor_accounting (
        id int GENERATED ALWAYS AS IDENTITY, record_id text NOT NULL UNIQUE, meta jsonb, components jsonb,
        start_time timestamptz NOT NULL, stop_time timestamptz, runtime bigint, updated_at timestamptz NOT NULL);
"""


class AuditorTables:
    """One database. `add` writes as AUDITOR's server does, without its checks; `update` as its PUT does."""

    def __init__(self, connection: psycopg.Connection[Any], *, jsonb: bool) -> None:
        self.connection = connection
        self.jsonb = jsonb
        connection.execute(JSONB if jsonb else TABLES)

    def add(self, record: Json, *, updated: str = "now") -> None:
        times = (record["record_id"], record["start_time"], record["stop_time"], _runtime(record), updated)
        if self.jsonb:
            self.connection.execute(
                "INSERT INTO auditor_accounting (record_id, start_time, stop_time, runtime, updated_at, meta, "
                "components) VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (*times, json.dumps(record["meta"]), json.dumps(record["components"])),
            )
            return
        (number,) = self._row(
            "INSERT INTO accounting (record_id, start_time, stop_time, runtime, updated_at) "
            "VALUES (%s, %s, %s, %s, %s) RETURNING id",
            *times,
        )
        for key, values in (record["meta"] or {}).items():
            for value in values:
                self.connection.execute("INSERT INTO meta VALUES (%s, %s, %s)", (record["record_id"], key, value))
        for component in record["components"]:
            self._add_component(number, component)

    def _add_component(self, number: int, component: Json) -> None:
        (made,) = self._row(
            "INSERT INTO components (name, amount) VALUES (%s, %s) RETURNING id",
            component["name"],
            component["amount"],
        )
        self.connection.execute("INSERT INTO records_components VALUES (%s, %s)", (number, made))
        for score in component["scores"]:
            (scored,) = self._row(
                "INSERT INTO scores (name, value) VALUES (%s, %s) "
                "ON CONFLICT (name, value) DO UPDATE SET name = excluded.name RETURNING id",
                score["name"],
                score["value"],
            )
            self.connection.execute(
                "INSERT INTO components_scores (component_id, score_id) VALUES (%s, %s)", (made, scored)
            )

    def update(self, record_id: str, stop_time: str) -> None:
        table = "auditor_accounting" if self.jsonb else "accounting"
        self.connection.execute(
            f"UPDATE {table} SET stop_time = %s, updated_at = clock_timestamp() WHERE record_id = %s",
            (stop_time, record_id),
        )

    def _row(self, statement: str, *values: object) -> tuple[Any, ...]:
        row = self.connection.execute(statement.encode(), values).fetchone()
        assert row is not None
        return tuple(row)


@contextmanager
def auditor_tables(url: str, *, jsonb: bool) -> Iterator[AuditorTables]:
    """AUDITOR's tables in the empty database at `url`."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield AuditorTables(connection, jsonb=jsonb)


def _runtime(record: Json) -> int | None:
    try:
        start, stop = (datetime.fromisoformat(record[key]) for key in ("start_time", "stop_time"))
    except (TypeError, ValueError):
        return None
    return int((stop - start).total_seconds())
