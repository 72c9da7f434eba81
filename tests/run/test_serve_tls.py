"""TLS, client certificates and rights, from outside: a real server process, real certificates, real connections."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.certificates import Authority, Pair
from tests.process import PATIENCE_SECONDS, eventually
from tests.run.test_serve import command, environment, refused

ROLES = ("write", "write-documents", "read", "correct", "administer", "monitor")
GUARDED = (
    ("GET", "/records", "read"),
    ("GET", "/record/r-A", "read"),
    ("GET", "/v2/records", "read"),
    ("GET", "/v2/totals?group_by=site_id", "read"),
    ("POST", "/record", "write"),
    ("POST", "/records", "write"),
    ("PUT", "/record", "write"),
    ("POST", "/v2/records", "write"),
    ("GET", "/v2/dead-letters", "administer"),
    ("GET", "/metrics", "monitor"),
)
GRANTS = """
[[access.certificates]]
common_name = "reader-of-two"
roles = "read"
sites = ["A", "B"]
[[access.certificates]]
common_name = "writer-of-a"
roles = ["write"]
sites = "A"
record_prefixes = "a-"
[[access.certificates]]
subject = 'CN=by-subject,O=a\\,b'
roles = ["monitor"]
[[access.certificates]]
subject = "/DC=org/DC=example/CN=by grid subject"
roles = ["monitor"]
[[access.certificates]]
name = "DNS:by.name.example.org"
roles = ["monitor"]
""" + "".join(f'[[access.certificates]]\ncommon_name = "{role}"\nroles = ["{role}"]\n' for role in ROLES)


class Answer(NamedTuple):
    status: int
    body: bytes


class Server:
    """A server process that answers at one port with TLS and at one without."""

    def __init__(self, process: subprocess.Popen[str], line: str, authority: Authority) -> None:
        self.process = process
        self.authority = authority
        self.line = line
        self.tls_port = int(re.findall(r"https://[^ ]*:(\d+)", line)[0])
        self.port = int(re.findall(r"http://[^ ]*:(\d+)", line)[0])

    def ask(
        self,
        method: str,
        path: str,
        pair: Pair | None,
        value: object = None,
        *,
        headers: Mapping[str, str] = {},
        host: str = "127.0.0.1",
    ) -> Answer:
        """One request over TLS."""
        context = self.authority.client_context(pair)
        connection = http.client.HTTPSConnection(host, self.tls_port, timeout=PATIENCE_SECONDS, context=context)
        return answered(connection, method, path, value, headers)

    def ask_plain(
        self, method: str, path: str, value: object = None, headers: Mapping[str, str] = {}, host: str = "127.0.0.1"
    ) -> Answer:
        """One request without TLS."""
        connection = http.client.HTTPConnection(host, self.port, timeout=PATIENCE_SECONDS)
        return answered(connection, method, path, value, headers)


def answered(
    connection: http.client.HTTPConnection, method: str, path: str, value: object, headers: Mapping[str, str]
) -> Answer:
    body = None if value is None else json.dumps(value)
    with closing(connection):
        connection.request(method, path, body, {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())


def record(record_id: str, site: str) -> dict[str, Any]:
    times = {"start_time": "2024-01-01T00:00:00Z", "stop_time": "2024-01-01T01:00:00Z"}
    return {"record_id": record_id, "components": [], "meta": {"site_id": [site]}, **times}


def settings(authority: Authority, pair: Pair, more: str = "", tls: str = "", addresses: str = '["127.0.0.1"]') -> str:
    return f"""
application = {{ addr = {addresses}, port = 0 }}
[tls_config]
use_tls = true
https_port = 0
ca_cert_path = "{authority.file}"
server_cert_path = "{pair.certificate}"
server_key_path = "{pair.key}"
{tls}
{more}
"""


@contextmanager
def serving(folder: Path, authority: Authority, text: str, *options: str) -> Iterator[Server]:
    config = folder / "server.toml"
    config.write_text(text)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command(["serve", str(config), "--data", str(folder / "data"), *options]),
            cwd=folder,
            env=environment({}),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "ready" in line, (folder / "log").read_text()
        yield Server(process, line, authority)
    finally:
        process.kill()
        process.communicate()


class Place(NamedTuple):
    """A server with grants, three records in it, and the certificates that it knows."""

    server: Server
    folder: Path
    pairs: dict[str, Pair]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def place(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("server")
    names = [*ROLES, "reader-of-two", "writer-of-a", "nobody"]
    pairs = {name: authority.issue_to(name) for name in names}
    with serving(folder, authority, settings(authority, authority.issue_server(), GRANTS)) as server:
        for site in "ABC":
            assert server.ask("POST", "/record", pairs["write"], record(f"r-{site}", site)).status == 200
        yield Place(server, folder, pairs)


def made_token(folder: Path, *words: str) -> str:
    done = subprocess.run(
        command(["token", "create", "test", *words, "--data", str(folder / "data")]),
        env=environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_every_role_opens_its_own_endpoints_and_is_403_at_all_others(place: Place) -> None:
    for name in (*ROLES, "nobody"):
        for method, path, needed in GUARDED:
            status = place.server.ask(method, path, place.pairs[name], {}).status
            assert (status == 403) == (name != needed), (name, method, path, status)
            assert status != 401


def test_what_is_not_granted_is_absent_from_every_answer(place: Place) -> None:
    server, pair = place.server, place.pairs["reader-of-two"]
    for query in ("", "meta[site_id][dnc][0]=A", "meta[site_id][dnc][0]=nothing", "record_id=r-C", "limit=9"):
        for path in ("/records", "/v2/records"):
            answer = server.ask("GET", f"{path}?{query}", pair)
            assert answer.status == 200
            assert b"r-C" not in answer.body
    body = server.ask("GET", "/records", pair).body
    assert b"r-A" in body
    assert b"r-B" in body
    assert server.ask("GET", "/record/r-C", pair).status == 404
    for query in ("group_by=site_id", "group_by=record_id", "group_by=site_id&meta[site_id][dnc][0]=A", "sum=count"):
        groups = json.loads(server.ask("GET", f"/v2/totals?{query}", pair).body)["groups"]
        assert groups
        assert not {"C", "r-C"} & {part for group in groups for part in group["key"]}
    assert groups[0]["values"] == [2]
    assert server.ask("GET", "/metrics", pair).status == 403
    assert b"<dt>stored in all</dt><dd>2</dd>" in server.ask("GET", "/", pair).body


def test_a_writer_of_one_site_and_prefix_writes_nothing_else(place: Place) -> None:
    server, pair = place.server, place.pairs["writer-of-a"]
    assert server.ask("POST", "/record", pair, record("a-1", "A")).status == 200
    assert server.ask("POST", "/record", pair, record("a-2", "B")).status == 403
    assert server.ask("POST", "/record", pair, record("b-1", "A")).status == 403
    assert server.ask("PUT", "/record", pair, record("r-B", "A")).status == 403
    outcomes = server.ask("POST", "/v2/records", pair, [record("a-1", "A"), record("b-1", "A")])
    assert [one["outcome"] for one in json.loads(outcomes.body)["outcomes"]] == ["same", "forbidden"]
    assert b'"a-1"' in server.ask("GET", "/records", place.pairs["read"]).body
    letters = json.loads(server.ask("GET", "/v2/dead-letters", place.pairs["administer"]).body)
    assert {letter["origin"] for letter in letters} >= {"certificate CN=writer-of-a,O=tests at 127.0.0.1"}


@pytest.mark.parametrize(
    "header",
    [
        {"x-forwarded-proto": "http"},
        {"forwarded": "proto=http;for=127.0.0.1"},
        {"x-forwarded-for": "127.0.0.1", "x-forwarded-port": "80"},
        {"x-ssl-client-s-dn": "CN=administer", "x-client-cert": "x"},
    ],
)
def test_a_forged_header_opens_nothing(place: Place, header: dict[str, str]) -> None:
    assert place.server.ask("GET", "/records", place.pairs["nobody"], headers=header).status == 403
    assert place.server.ask("GET", "/records", place.pairs["reader-of-two"], headers=header).body.count(b"r-C") == 0
    forged = {**header, "x-forwarded-proto": "https"}
    assert place.server.ask_plain("GET", "/records", headers=forged).status == 401
    assert place.server.ask_plain("GET", "/v2/dead-letters", headers=forged).status == 401


def test_no_connection_is_made_without_a_certificate_of_the_authority(place: Place, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger").issue_to("administer")
    for pair in (None, stranger):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            place.server.ask("GET", "/records", pair)


def test_an_old_protocol_is_refused(place: Place) -> None:
    context = place.server.authority.client_context(place.pairs["read"])
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", place.server.tls_port), timeout=PATIENCE_SECONDS) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(raw, server_hostname="localhost")


def test_plain_http_answers_the_health_check_and_needs_a_token_for_the_rest(place: Place) -> None:
    server = place.server
    assert server.ask_plain("GET", "/health_check").status == 200
    for method, path, _ in GUARDED:
        assert server.ask_plain(method, path, {}).status == 401
    shown = {"authorization": f"Bearer {made_token(place.folder, '--role', 'read', '--site', 'A')}"}
    answer = server.ask_plain("GET", "/records", headers=shown)
    assert answer.status == 200
    assert b"r-A" in answer.body
    assert b"r-B" not in answer.body
    assert server.ask_plain("GET", "/metrics", headers=shown).status == 403


def test_a_subject_is_known_whole_in_two_forms_and_by_an_alternative_name(place: Place, authority: Authority) -> None:
    organisation, unit, common = NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COMMON_NAME
    component = NameOID.DOMAIN_COMPONENT
    grid = ((component, "org"), (component, "example"))
    names = (x509.DNSName("by.name.example.org"),)
    known = [
        authority.issue((organisation, "a,b"), (common, "by-subject")),
        authority.issue(*grid, (common, "by grid subject")),
        authority.issue((common, "other"), names=names),
    ]
    unknown = [
        authority.issue((organisation, "a,b"), (unit, "unit"), (common, "by-subject")),
        authority.issue((component, "org"), (component, "example/CN=by grid subject")),
        authority.issue((common, "by.name.example.org")),
        authority.issue((common, "x"), (common, "monitor")),
        authority.issue((organisation, "monitor")),
        authority.issue((common, "monitor ")),
        authority.issue((common, "Monitor")),
        authority.issue((common, "other"), names=(x509.UniformResourceIdentifier("DNS:by.name.example.org"),)),
    ]
    assert [place.server.ask("GET", "/metrics", pair).status for pair in known] == [200, 200, 200]
    assert {place.server.ask("GET", "/metrics", pair).status for pair in unknown} == {403}


def seen_serial(server: Server, pair: Pair) -> int:
    context = server.authority.client_context(pair)
    with (
        socket.create_connection(("127.0.0.1", server.tls_port), timeout=PATIENCE_SECONDS) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        der = connection.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number


def replaced(old: Pair, new: Pair) -> None:
    shutil.copy(new.key, old.key)
    shutil.copy(new.certificate, old.certificate)


def test_hup_takes_new_certificates_without_ending_a_connection(authority: Authority, tmp_path: Path) -> None:
    pair, client = authority.issue_server(), authority.issue_to("anybody")
    with serving(tmp_path, authority, settings(authority, pair)) as server:
        kept = http.client.HTTPSConnection(
            "127.0.0.1", server.tls_port, timeout=PATIENCE_SECONDS, context=authority.client_context(client)
        )
        kept.request("GET", "/health_check")
        assert kept.getresponse().read() == b""
        before = seen_serial(server, client)
        replaced(pair, authority.issue_server())
        assert seen_serial(server, client) == before
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: seen_serial(server, client) != before)
        pair.certificate.write_text("no certificate")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "tls.not_reloaded" in (tmp_path / "log").read_text())
        assert seen_serial(server, client) != before
        kept.request("GET", "/records")
        assert kept.getresponse().status == 200
        kept.close()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0


def test_without_rules_a_certificate_opens_everything_and_plain_http_nothing(
    authority: Authority, tmp_path: Path
) -> None:
    with serving(tmp_path, authority, settings(authority, authority.issue_server())) as server:
        pair = authority.issue_to("anybody")
        assert server.ask("POST", "/record", pair, record("r", "A")).status == 200
        for method, path, _ in GUARDED:
            assert server.ask(method, path, pair, {}).status not in (401, 403)
            assert server.ask_plain(method, path, {}).status == 401
        assert server.ask_plain("GET", "/health_check").status == 200


def own_address() -> str | None:
    """An address of this machine that is not loopback, if it has one."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def test_beyond_this_machine_plain_http_answers_the_health_check_only(authority: Authority, tmp_path: Path) -> None:
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    text = settings(authority, authority.issue_server(), "[access]\nrequired = true", addresses='["0.0.0.0"]')
    with serving(tmp_path, authority, text) as server:
        shown = {"authorization": f"Bearer {made_token(tmp_path, '--role', 'read')}"}
        assert server.ask_plain("GET", "/records", headers=shown).status == 200
        assert server.ask_plain("GET", "/records", headers=shown, host=address).status == 403
        assert server.ask_plain("GET", "/health_check", host=address).status == 200


def test_both_families_are_served_and_tokens_suffice_where_certificates_are_optional(
    authority: Authority, tmp_path: Path
) -> None:
    text = settings(
        authority,
        authority.issue_server(),
        "[access]\nrequired = true",
        'client_certificates = "optional"',
        '["127.0.0.1", "::1"]',
    )
    with serving(tmp_path, authority, text) as server:
        shown = {"authorization": f"Bearer {made_token(tmp_path, '--role', 'read')}"}
        for host in ("127.0.0.1", "::1"):
            assert server.ask("GET", "/records", None, headers=shown, host=host).status == 200
            assert server.ask("GET", "/records", None, host=host).status == 401
            assert server.ask_plain("GET", "/health_check", host=host).status == 200
        assert server.line.count("https://") == 2


def test_files_that_do_not_serve_are_told_before_anything_is_begun(authority: Authority, tmp_path: Path) -> None:
    good, other = authority.issue_server(), authority.issue_server()
    for pair in (Pair(good.certificate, tmp_path / "missing"), Pair(good.certificate, other.key)):
        (tmp_path / "server.toml").write_text(settings(authority, pair))
        code, said = refused("serve", str(tmp_path / "server.toml"), folder=tmp_path)
        assert code == 2
        assert str(pair.key) in said


def test_a_handshake_that_never_comes_is_ended(place: Place) -> None:
    with socket.create_connection(("127.0.0.1", place.server.tls_port), timeout=PATIENCE_SECONDS) as raw:
        raw.sendall(b"\x16")
        assert raw.recv(1) == b""
