"""Databases for every test that asks for one; nothing is started before a test does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from jobmeter.store.migrate import upgrade
from jobmeter.store.open import ArchivingStore, open_store
from tests.postgresql import PrivatePostgresql

# What a test says must not depend on the speed of the machine. What is taken must not depend on luck either: there the
# examples are the same each time. Elsewhere they go on being new.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("any speed"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "any speed")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PrivatePostgresql]:
    """The server of this test run."""
    server = PrivatePostgresql()
    yield server
    server.remove()


@pytest.fixture
def postgresql_url(postgresql: PrivatePostgresql) -> str:
    """A fresh PostgreSQL database with the present schema."""
    return postgresql.new_database()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "store.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh SQLite database with the present schema."""
    path = tmp_path / "store.sqlite"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database of either kind: a test that asks for it runs over both."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def store(database_url: str) -> Iterator[ArchivingStore]:
    """A record store on a fresh database of either kind."""
    opened = open_store(database_url)
    yield opened
    opened.close()
