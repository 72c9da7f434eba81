"""Query strings of every shape: never an error of the server, never a record that the asker may not see."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobmeter.serve.operations import OPERATIONS
from tests.clients.server import REPOSITORY, LiveServer, live

HIDDEN = b"hidden-from-readers-of-A"
ENDLESS = ("/v2/samples/tail",)
PATHS = sorted(
    one.path.replace("{record_id}", "x").replace("{number}", "1")
    for one in OPERATIONS
    if one.method == "GET" and one.path not in ENDLESS
)
WORDS = [
    "meta",
    "site_id",
    "site",
    "component",
    "Cores",
    "start_time",
    "stop_time",
    "runtime",
    "record_id",
    "limit",
    "sort_by",
    "score",
    "cursor",
    "fields",
    "as_of",
    "group_by",
    "sum",
    "min",
    "max",
    "day",
    "month",
    "count",
    "gt",
    "gte",
    "lt",
    "lte",
    "equals",
    "c",
    "dnc",
    "asc",
    "desc",
    "0",
    "1",
    "-1",
    "1.5",
    "A",
    "C",
    "2024-01-01T00:00:00Z",
    "2024-01-01",
    "NaN",
]

word = st.sampled_from([*WORDS, "9" * 30, "", HIDDEN.decode()]) | st.text(max_size=8).map(
    lambda text: text.encode("utf-8", "replace").decode()
)


def percent(text: str) -> str:
    return "".join(chr(byte) if 33 <= byte <= 126 and byte != 35 else f"%{byte:02X}" for byte in text.encode())


quoted = word.map(percent) | st.binary(max_size=6).map(lambda data: "".join(f"%{byte:02x}" for byte in data))
key = st.builds(lambda first, rest: first + "".join(f"[{one}]" for one in rest), quoted, st.lists(quoted, max_size=4))
likely = st.sampled_from(
    [
        "meta[site_id][dnc][0]=A",
        "meta[site_id][c][0]=C",
        "meta[site][dnc][]=x",
        "meta[user_id][dnc][0]=u",
        "limit=5",
        "sort_by[desc]=stop_time",
        "sort_by[asc]=record_id",
        f"record_id={HIDDEN.decode()}",
        "runtime[gte]=0",
        "group_by=record_id,site_id",
        "sum=Cores*runtime,count",
        "as_of=2024-06-01T00:00:00Z",
        "as_of=0001-01-01T00:00:00Z",
        "as_of=2026-01-01T00:00:00.000001%2B02:00",
    ]
)
query = st.lists(likely | st.builds("{}={}".format, key, quoted) | quoted, max_size=5).map("&".join)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, dict[str, str]]]:
    with live(tmp_path_factory.mktemp("server"), ["--require-authentication"]) as running:
        writer = shown(running, "--role=write", "--role=administer")
        with closing(http.client.HTTPConnection(running.address, running.port, timeout=60)) as connection:
            for name, site in (("a", "A"), (HIDDEN.decode(), "C")):
                times = {"start_time": "2024-01-01T00:00:00Z", "stop_time": "2024-01-01T01:00:00Z"}
                meta = {"site_id": [site], "user_id": ["u"]}
                body = json.dumps({"record_id": name, "components": [], "meta": meta, **times})
                connection.request("POST", "/record", body, {"content-type": "application/json", **writer})
                answer = connection.getresponse()
                assert (answer.status, answer.read()) == (200, b"")
        yield running, shown(running, "--role=read", "--site=A")


def shown(server: LiveServer, *words: str) -> dict[str, str]:
    """The header that shows a new token."""
    command = [sys.executable, "-m", "jobmeter", "token", "create", "x", *words, "--data", str(server.data)]
    made = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY / "src")
    return {"authorization": f"Bearer {made.stdout.strip()}"}


def test_no_query_string_is_an_error_of_the_server_or_shows_what_is_hidden(
    server: tuple[LiveServer, dict[str, str]],
) -> None:
    running, reader = server
    with closing(http.client.HTTPConnection(running.address, running.port, timeout=60)) as connection:

        @given(
            path=st.sampled_from(("/records", "/v2/records", "/v2/totals", "/record/x")) | st.sampled_from(PATHS),
            asked=query,
        )
        @settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def ask(path: str, asked: str) -> None:
            connection.request("GET", f"{path}?{asked}", headers=reader)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status < 500, (answer.status, body)
            assert answer.status != 200 or HIDDEN not in body

        ask()
        connection.request("GET", "/records?meta[site_id][dnc][0]=nothing", headers=reader)
        assert b'"record_id":"a"' in connection.getresponse().read()
