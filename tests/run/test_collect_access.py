"""A collector at a server that asks who it is: the daemon's own command, a real server process, real certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobmeter.model.outcome import Accepted, Keep
from jobmeter.sinks.server import Settings, open_sink
from jobmeter.wire.auditor import encode_record
from tests.certificates import Authority
from tests.given import record
from tests.observe.slurm_tables import write_table
from tests.run.test_collect import collect, configuration, row
from tests.run.test_serve_tls import Place, made_token, serving, settings

GRANTS = """
[[access.certificates]]
common_name = "slurm-a"
roles = ["write"]
record_prefixes = ["slurm-"]
[[access.certificates]]
common_name = "reader"
roles = ["read"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("server")
    authority = Authority(folder / "authority")
    pairs = {name: authority.issue_to(name) for name in ("slurm-a", "reader", "nobody")}
    with serving(folder, authority, settings(authority, authority.issue_server(), GRANTS)) as server:
        yield Place(server, folder, pairs)


def stored(place: Place) -> bytes:
    return place.server.ask("GET", "/records", place.pairs["reader"]).body


def tls(place: Place, name: str) -> dict[str, object]:
    pair = place.pairs[name]
    files = {"client_cert_path": str(pair.certificate), "client_key_path": str(pair.key)}
    return {"use_tls": True, "ca_cert_path": str(place.server.authority.file), **files}


def test_a_collector_delivers_with_its_certificate_and_keeps_what_it_may_not(place: Place, tmp_path: Path) -> None:
    write_table(tmp_path / "slurm", [row(JobID="7", JobIDRaw="7")])
    denied = configuration(tmp_path, place.server.tls_port, tls_config=tls(place, "nobody"), record_prefix="slurm")
    done = collect(denied, "--once", "--deliver-seconds", "2")
    assert done.returncode == 1
    assert "403" in done.stderr
    granted = configuration(tmp_path, place.server.tls_port, tls_config=tls(place, "slurm-a"), record_prefix="slurm")
    assert collect(granted, "--once").returncode == 0
    assert b'"slurm-7"' in stored(place)


def test_a_collector_delivers_with_a_token_in_a_file(place: Place, tmp_path: Path) -> None:
    write_table(tmp_path / "slurm", [row(JobID="8", JobIDRaw="8")])
    token = tmp_path / "token"
    config = configuration(tmp_path, place.server.port, token_file=str(token), record_prefix="slurm")
    done = collect(config, "--once", "--deliver-seconds", "2")
    assert done.returncode == 1
    assert "the token cannot be read" in done.stderr
    token.write_text(made_token(place.folder, "--role", "write", "--record-prefix", "slurm-") + "\n")
    assert collect(config, "--once").returncode == 0
    assert b'"slurm-8"' in stored(place)


def test_what_the_server_forbids_of_many_is_kept_by_the_sink(place: Place) -> None:
    token = made_token(place.folder, "--role", "write", "--record-prefix", "mine-")
    sink = open_sink(Settings(address=f"http://127.0.0.1:{place.server.port}", token=token))
    items = [encode_record(record(name)) for name in ("mine-1", "other-1", "mine-2")]
    outcomes = sink.send(items)
    sink.close()
    assert [type(outcome) for outcome in outcomes] == [Accepted, Keep, Accepted]
    assert isinstance(outcomes[1], Keep)
    assert "mend its access" in outcomes[1].reason


def test_a_token_that_is_replaced_counts_from_the_next_request_on(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("jobmeter_unknown")
    sink = open_sink(Settings(address=f"http://127.0.0.1:{place.server.port}", token_file=str(file)))
    assert isinstance(sink.send([encode_record(record("t-1"))])[0], Keep)
    file.write_text(made_token(place.folder, "--role", "write"))
    assert sink.send([encode_record(record("t-1"))]) == [Accepted()]
    sink.close()
