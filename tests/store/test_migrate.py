from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from alembic.script import ScriptDirectory

from jobmeter.contract import StoreUnavailable
from jobmeter.store import document_tables, migrations
from jobmeter.store.fault import DatabaseUrlFaulty, SchemaUnfit
from jobmeter.store.migrate import pending, upgrade
from jobmeter.store.open import open_store
from jobmeter.store.schema import HEAD, KNOWN, VERSION_TABLE
from jobmeter.store.tables import metadata
from tests.postgresql import PrivatePostgresql
from tests.process import started

_UPGRADE = "import sys; from jobmeter.store.migrate import upgrade; print(len(upgrade(sys.argv[1])))"

_COLUMNS = """SELECT table_name, column_name, ordinal_position, data_type, collation_name, is_nullable, column_default,
    is_identity, identity_generation FROM information_schema.columns WHERE table_schema = 'public'"""
_INDICES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
_CONSTRAINTS = """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace"""


def described_sqlite(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    connection.close()
    return sorted(
        (kind, name, table, _parts(sql or "")) for kind, name, table, sql in rows if VERSION_TABLE not in table
    )


def _parts(sql: str) -> list[str]:
    """The columns and constraints in any order: a column that is added later stands behind the constraints."""
    begin, _, rest = " ".join(sql.split()).partition("(")
    listed, _, end = rest.rpartition(")")
    return [begin, *sorted(part.replace("( ", "(").strip() for part in re.split(r",(?![^(]*\))", listed)), end]


def described_postgresql(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        rows = [row for question in (_COLUMNS, _INDICES, _CONSTRAINTS) for row in connection.execute(question.encode())]
    return sorted((row for row in rows if row[0] != VERSION_TABLE), key=repr)


def test_the_migrations_make_the_schema_of_the_tables_on_sqlite(sqlite_template: Path, tmp_path: Path) -> None:
    path = tmp_path / "tables.sqlite"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    assert described_sqlite(sqlite_template) == described_sqlite(path)
    assert len(described_sqlite(path)) >= len(metadata.tables)
    assert document_tables.documents.metadata is metadata


def test_the_migrations_make_the_schema_of_the_tables_on_postgresql(postgresql: PrivatePostgresql) -> None:
    url = postgresql.new_database(empty=True)
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    metadata.create_all(engine)
    engine.dispose()
    assert described_postgresql(postgresql.new_database()) == described_postgresql(url)
    assert len(described_postgresql(url)) >= len(metadata.tables)


def test_the_known_revisions_are_those_in_the_folder() -> None:
    scripts = ScriptDirectory(migrations.__path__[0]).walk_revisions()
    assert tuple(script.revision for script in scripts)[::-1] == KNOWN


def test_an_up_to_date_database_has_nothing_pending(database_url: str) -> None:
    assert pending(database_url) == []
    assert upgrade(database_url) == []


def test_two_programs_may_migrate_at_once(postgresql: PrivatePostgresql, tmp_path: Path) -> None:
    for url in (postgresql.new_database(empty=True), f"sqlite:///{tmp_path}/store.sqlite"):
        both = [started(_UPGRADE, url) for _ in range(2)]
        assert sorted(one.communicate()[0] for one in both) == sorted(["0\n", f"{len(KNOWN)}\n"])


def _set_revision(url: str, revision: str) -> None:
    statement = f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute(statement)
        connection.commit()
        connection.close()
    else:
        with psycopg.connect(url) as server:
            server.execute(statement.encode())


def test_a_database_of_a_newer_program_is_told_as_such(database_url: str) -> None:
    _set_revision(database_url, "9999")
    for ask in (open_store, pending, upgrade):
        with pytest.raises(SchemaUnfit, match=f"9999.*knows up to {HEAD}"):
            ask(database_url)
    with pytest.raises(SchemaUnfit):
        open_store(database_url, migrate=True)


def test_a_database_without_tables_is_told_how_to_get_them(postgresql: PrivatePostgresql, tmp_path: Path) -> None:
    url = postgresql.new_database(empty=True)
    with pytest.raises(SchemaUnfit, match="jobmeter migrate"):
        open_store(url)
    open_store(url, migrate=True).close()
    open_store(url).close()
    path = tmp_path / "store.sqlite"
    with pytest.raises(SchemaUnfit, match="jobmeter migrate"):
        open_store(f"sqlite:///{path}")
    assert not path.exists()
    path.touch()
    with pytest.raises(SchemaUnfit, match="jobmeter migrate"):
        open_store(f"sqlite:///{path}")


def test_tables_of_another_program_are_left_alone(postgresql: PrivatePostgresql, tmp_path: Path) -> None:
    url = postgresql.new_database(empty=True)
    with psycopg.connect(url) as server:
        server.execute("CREATE TABLE counters (mine int)")
    path = tmp_path / "store.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE counters (mine int)")
    connection.close()
    for address in (url, f"sqlite:///{path}"):
        for _ in range(2):
            with pytest.raises(SchemaUnfit, match=r"cannot be made.*counters"):
                upgrade(address)
    with psycopg.connect(url) as server:
        assert server.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (1,)


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_text("this is not a database, " * 100)
    for ask in (open_store, pending, upgrade):
        with pytest.raises(StoreUnavailable, match="not a database"):
            ask(f"sqlite:///{path}")


def test_a_database_in_another_encoding_is_told(postgresql: PrivatePostgresql) -> None:
    with psycopg.connect(postgresql.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1'")
    with pytest.raises(SchemaUnfit, match="LATIN1"):
        open_store(postgresql.url("latin"))


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://host/db", "/path", "sqlite"]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(DatabaseUrlFaulty, match="sqlite:///PATH"):
        open_store(url)
