"""Load on a server while something is killed again and again; then the account is compared with the answers."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing

from tests.clients.server import LiveServer
from tests.process import PATIENCE_SECONDS

WRITERS = 8
_TIMES = {"start_time": "2024-01-01T00:00:00Z", "stop_time": "2024-01-01T01:00:00Z"}


class Load:
    """Writers that repeat each record until it is acknowledged, as every client of ours does."""

    def __init__(self, server: LiveServer) -> None:
        self._server = server
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        self.acknowledged: list[str] = []
        self.failures = 0
        self.unfinished: set[str] = set()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(PATIENCE_SECONDS)

    def wait_for(self, more: int) -> None:
        """Return when so many more records were acknowledged."""
        goal = len(self.acknowledged) + more
        end = time.monotonic() + PATIENCE_SECONDS
        while len(self.acknowledged) < goal:
            if time.monotonic() > end:
                raise TimeoutError(f"only {len(self.acknowledged)} of {goal} records were acknowledged")
            time.sleep(0.01)

    def _write(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            try:
                with closing(http.client.HTTPConnection(self._server.address, self._server.port, timeout=30)) as line:
                    while not self._stop.is_set():
                        names = [f"w{number}-{count + place}" for place in range(1 if number % 2 else 20)]
                        self._offer(line, names)
                        count += len(names)
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self.failures += 1
                time.sleep(0.02)

    def _offer(self, line: http.client.HTTPConnection, names: list[str]) -> None:
        """One record by AUDITOR's path, several by ours. Returns when they are acknowledged."""
        records = [{"record_id": name, "components": [], "meta": {"site_id": ["A"]}, **_TIMES} for name in names]
        path, body = ("/record", records[0]) if len(names) == 1 else ("/v2/records", records)
        with self._lock:
            self.unfinished.update(names)
        line.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = line.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise ConnectionError(f"{answer.status} {text!r}")
        if path == "/v2/records":
            outcomes = {one["outcome"] for one in json.loads(text)["outcomes"]}
            assert outcomes <= {"new", "same"}, outcomes
        with self._lock:
            self.acknowledged += names
            self.unfinished.difference_update(names)


def kill_again_and_again(
    server: LiveServer, kills: int, kill: Callable[[], None], back: Callable[[], None], seed: int = 1
) -> Load:
    """`kill` and bring `back` under load, so many times, and compare the account with what was acknowledged."""
    pauses = random.Random(seed)
    with Load(server) as load:
        for _ in range(kills):
            load.wait_for(20)
            time.sleep(pauses.uniform(0, 0.15))
            kill()
            back()
        load.wait_for(100)
    counted = Counter(record["record_id"] for record in server.records())
    assert not [name for name, times in counted.items() if times > 1], "a record is there twice"
    missing = set(load.acknowledged) - counted.keys()
    assert not missing, f"{len(missing)} acknowledged records are gone, such as {sorted(missing)[:3]}"
    assert counted.keys() - set(load.acknowledged) <= load.unfinished, "a record is there that nobody sent"
    assert len(load.acknowledged) == len(set(load.acknowledged))
    return load


def kill_server(server: LiveServer, kills: int) -> Load:
    """The same with the server's process."""
    load = kill_again_and_again(server, kills, lambda: _killed(server), server.start)
    assert load.failures >= kills
    return load


def _killed(server: LiveServer) -> None:
    server.stop(signal.SIGKILL)
