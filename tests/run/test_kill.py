"""`kill -9` of the server and of PostgreSQL under load, a few times; in tests/system it is a hundred times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.server import live
from tests.postgresql import PrivatePostgresql
from tests.run.killing import kill_again_and_again, kill_server

KILLS = 4


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_the_server_acknowledged_survives_its_kill(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    options = [] if database == "sqlite" else ["--database", request.getfixturevalue("postgresql_url")]
    with live(tmp_path, options) as server:
        kill_server(server, KILLS)


def test_what_the_server_acknowledged_survives_the_kill_of_postgresql(
    postgresql: PrivatePostgresql, tmp_path: Path
) -> None:
    with live(tmp_path, ["--database", postgresql.new_database()]) as server:
        assert kill_again_and_again(server, KILLS, postgresql.kill, postgresql.start).failures > 0
