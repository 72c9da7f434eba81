"""The real clients at a server that asks who they are: over mutual TLS, and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.clients.client import NEW, ClientFault, RealClient
from tests.clients.records import record
from tests.run.test_serve_tls import Place, serving, settings

GRANTS = """
[[access.certificates]]
common_name = "both"
roles = ["read", "write"]
sites = ["A"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("server")
    authority = Authority(folder / "authority")
    pairs = {name: authority.issue_to(name) for name in ("both", "nobody")}
    with serving(folder, authority, settings(authority, authority.issue_server(), GRANTS)) as server:
        yield Place(server, folder, pairs)


def client(place: Place, kind: str, name: str) -> RealClient:
    pair = place.pairs[name]
    files = (pair.certificate, pair.key, place.server.authority.file)
    return RealClient(NEW, kind, place.server.tls_port, tls=files)


@pytest.mark.parametrize("kind", ["async", "blocking"])
def test_a_real_client_writes_and_reads_with_its_certificate(place: Place, kind: str) -> None:
    with client(place, kind, "both") as made:
        assert made.health_check()
        made.add(record(f"{kind}-1", meta={"site_id": ["A"]}))
        made.add(record(f"{kind}-2", meta={"site_id": ["B"]}))
        assert f"{kind}-1" in {one["record_id"] for one in made.get()}
        assert f"{kind}-2" not in {one["record_id"] for one in made.get()}
    with client(place, kind, "nobody") as made:
        assert made.health_check()
        with pytest.raises(ClientFault, match="403"):
            made.get()


def test_a_real_client_without_a_certificate_learns_that_its_record_was_not_taken(place: Place, tmp_path: Path) -> None:
    with RealClient(NEW, "async", place.server.port, database=tmp_path / "queue") as made:
        assert made.health_check()
        with pytest.raises(ClientFault):
            made.add(record("lost", meta={"site_id": ["A"]}))
        with pytest.raises(ClientFault, match="401"):
            made.get()
