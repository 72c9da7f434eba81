from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.client import VERSIONS, RealClient
from tests.clients.server import LiveServer, live


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One server for the tests of a module, on an empty embedded database."""
    with live(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[LiveServer]:
    """A server for one test, which may stop it, kill it and take its database away."""
    with live(tmp_path) as server:
        yield server


@pytest.fixture(scope="module", params=[f"{kind}-{version}" for version in VERSIONS for kind in ("async", "blocking")])
def client(request: pytest.FixtureRequest, live_server: LiveServer) -> Iterator[RealClient]:
    """Each generation and kind of client in turn, with the module's server."""
    kind, version = str(request.param).split("-")
    with RealClient(version, kind, live_server.port) as made:
        yield made
