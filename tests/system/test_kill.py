"""`kill -9` of the server and of PostgreSQL under load, a hundred times: nothing acknowledged is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.server import live
from tests.postgresql import PrivatePostgresql
from tests.run.killing import Load, kill_again_and_again, kill_server

pytestmark = pytest.mark.system
KILLS = 100


def told(load: Load) -> None:
    print(f"{KILLS} kills, {len(load.acknowledged)} records acknowledged, {load.failures} requests failed")  # noqa: T201


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_the_server_acknowledged_survives_a_hundred_kills(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    options = [] if database == "sqlite" else ["--database", request.getfixturevalue("postgresql_url")]
    with live(tmp_path, options) as server:
        told(kill_server(server, KILLS))


def test_what_the_server_acknowledged_survives_a_hundred_kills_of_postgresql(
    postgresql: PrivatePostgresql, tmp_path: Path
) -> None:
    with live(tmp_path, ["--database", postgresql.new_database()]) as server:
        told(kill_again_and_again(server, KILLS, postgresql.kill, postgresql.start))
