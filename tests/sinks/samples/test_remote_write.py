"""Against a receiver that undoes every layer, and against the real stores where they are installed."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobmeter.model.metric import Kind, Metric
from jobmeter.model.outcome import Keep, Rejected
from jobmeter.sinks.samples.remote_write import Settings, open_sink
from jobmeter.wire.remote_write import prometheus_name, snappy
from tests.colmet.test_interoperation import ending
from tests.process import eventually, free_port
from tests.sinks.samples.given import START, all_accepted, own_batch


def unsnapped(block: bytes) -> bytes:
    size, place = varint(block, 0)
    found = bytearray()
    while place < len(block):
        assert block[place] & 3 == 0, "a literal"
        extra = (block[place] >> 2) - 59
        assert extra in (1, 2)
        length = int.from_bytes(block[place + 1 : place + 1 + extra], "little") + 1
        found += block[place + 1 + extra : place + 1 + extra + length]
        place += 1 + extra + length
    assert len(found) == size
    return bytes(found)


def varint(raw: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def fields(raw: bytes) -> Iterator[tuple[int, bytes | int]]:
    place = 0
    while place < len(raw):
        key, place = varint(raw, place)
        if key & 7 == 2:
            length, place = varint(raw, place)
            yield key >> 3, raw[place : place + length]
            place += length
        elif key & 7 == 1:
            yield key >> 3, raw[place : place + 8]
            place += 8
        else:
            value, place = varint(raw, place)
            yield key >> 3, value


class Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.points: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
        self.refuse: list[int] = []
        self.poison = -1.0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.refuse.pop(0) if self.server.refuse else self._taken(body)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _taken(self, body: bytes) -> int:
        assert self.headers["Content-Encoding"] == "snappy"
        assert self.headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
        found: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
        for _, raw in fields(unsnapped(body)):
            assert isinstance(raw, bytes)
            labels, points = [], []
            for number, part in fields(raw):
                assert isinstance(part, bytes)
                inner = dict(fields(part))
                if number == 1:
                    labels.append((bytes(inner[1]).decode(), bytes(inner[2]).decode()))
                else:
                    points.append((int(inner[2]), struct.unpack("<d", inner[1])[0]))  # type: ignore[arg-type]
            assert labels == sorted(labels)
            found[tuple(labels)] = points
        if any(value == self.server.poison for points in found.values() for _, value in points):
            return 400
        for key, points in found.items():
            self.server.points.setdefault(key, []).extend(points)
        return 204

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made
        made.shutdown()


def address(receiver: Receiver) -> str:
    return f"http://127.0.0.1:{receiver.server_port}/api/v1/write"


def test_a_sample_becomes_points_in_base_units(receiver: Receiver) -> None:
    sink = open_sink(Settings(address=address(receiver)))
    assert all_accepted(sink.write(own_batch(value=2_500_000_000)))
    at = START * 1000 + 250
    job = (("cluster", "alpha"), ("jobid", "4711"), ("manager", "slurm"), ("node", "n1"))
    assert receiver.points == {
        (("__name__", "jobmeter_cgroup_cpu_usage_seconds_total"), *job): [(at, 2.5)],
        (("__name__", "jobmeter_ipmi_power_watts"), ("device", "psu-0"), ("node", "n1")): [(at, 312.0)],
        (("__name__", "jobmeter_node_job"), *job): [(at, 1.0)],
    }
    sink.close()


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_what_the_store_does_not_take_now_is_kept(receiver: Receiver, status: int) -> None:
    receiver.refuse = [status]
    sink = open_sink(Settings(address=address(receiver)))
    assert all(isinstance(outcome, Keep) for outcome in sink.write(own_batch()))
    assert all_accepted(sink.write(own_batch()))
    sink.close()


def test_the_one_sample_that_a_store_never_takes_is_rejected_alone(receiver: Receiver) -> None:
    receiver.poison = 312.0
    sink = open_sink(Settings(address=address(receiver)))
    outcomes = sink.write(own_batch())
    assert [isinstance(outcome, Rejected) for outcome in outcomes] == [False, True]
    sink.close()


def test_a_store_that_is_away_loses_nothing() -> None:
    sink = open_sink(Settings(address="http://127.0.0.1:1/api/v1/write", timeout_seconds=1))
    assert all(isinstance(outcome, Keep) for outcome in sink.write(own_batch()))
    sink.close()


@pytest.mark.parametrize("size", [0, 1, 59, 60, 61, 65_535, 65_536, 65_537, 200_000])
def test_a_block_of_any_size_can_be_undone(size: int) -> None:
    plain = bytes(number % 251 for number in range(size))
    assert unsnapped(snappy(plain)) == plain


def test_names_end_with_their_unit_once() -> None:
    assert (
        prometheus_name(Metric("rapl_energy_joules", "joules", Kind.COUNTER, "")) == "jobmeter_rapl_energy_joules_total"
    )
    assert prometheus_name(Metric("load-1", "count", Kind.GAUGE, "")) == "jobmeter_load_1"


STORES = {
    "victoria-metrics": (["-httpListenAddr=127.0.0.1:{port}", "-storageDataPath={folder}"], "victoria-metrics"),
    "prometheus": (
        [
            "--config.file={folder}/empty.yml",
            "--storage.tsdb.path={folder}/data",
            "--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
        ],
        "prometheus",
    ),
}


@pytest.mark.system
@pytest.mark.parametrize("name", sorted(STORES))
def test_the_real_store_answers_with_what_was_sent(name: str, tmp_path: Path) -> None:
    words, program = STORES[name]
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")

    port = free_port()
    (tmp_path / "empty.yml").write_text("")
    command = [path, *(word.format(port=port, folder=tmp_path) for word in words)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, text=True)
    with ending(process):
        sink = open_sink(Settings(address=f"http://127.0.0.1:{port}/api/v1/write"))
        now = int(time.time())
        eventually(lambda: all_accepted(sink.write(own_batch(now, value=5_000_000_000))))
        sink.close()
        query = f"http://127.0.0.1:{port}/api/v1/query?query=jobmeter_cgroup_cpu_usage_seconds_total&time={now + 1}"

        def answered() -> bool:
            with urllib.request.urlopen(query) as answer:
                result = json.load(answer)["data"]["result"]
            return bool(result) and float(result[0]["value"][1]) == 5.0 and result[0]["metric"]["jobid"] == "4711"

        eventually(answered)
