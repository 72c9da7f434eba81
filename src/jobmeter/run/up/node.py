"""The node agent of `jobmeter up`: its samples and summaries go to the server beside it, with nothing between them.

A process of its own, so that what it says of its cost is true and the server needs none of its rights. Batches wait in
memory while the server is away; what does not fit is counted as dropped.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from jobmeter import registry
from jobmeter.contract import SourceAbsent
from jobmeter.model.sample import SampleBatch
from jobmeter.model.summary import JobSummary
from jobmeter.model.summing import Summing
from jobmeter.observe.agent import Agent
from jobmeter.observe.ceiling import Ceiling
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.host import Host
from jobmeter.observe.jobs.finder import JobFinder
from jobmeter.observe.jobs.profile import AUTOMATIC, built_in
from jobmeter.peer import Endpoint, Peer, PeerAway, bearer
from jobmeter.run.agent.loop import Signals, loop
from jobmeter.run.agent.sources import KIND, Openings, Wanted
from jobmeter.settings.deployment import Metrics

log = logging.getLogger("jobmeter.run")

WAITING_MAX = 2000
"""Batches that may wait: hours, at a batch in a few seconds."""
_BODY_BYTES = 1_000_000
_AGAIN_SECONDS = 2.0
_ANSWER_SECONDS = 30.0
_END_SECONDS = 5.0
_DEFINITE = (400, 413, 422)

_encode = msgspec.json.Encoder().encode


class Ways(Struct, frozen=True):
    """What the node reads, how often (seconds), and the most that it may cost (percent of a core)."""

    sources: tuple[str, ...]
    period_seconds: float = 5.0
    ceiling_percent: float = 2.0


class ServerSender:
    """A SampleSender (see `jobmeter.contract`) that posts to a server, in order, until it is taken."""

    def __init__(self, address: str, token_file: str | None = None) -> None:
        self._peer = Peer(Endpoint(address, _ANSWER_SECONDS), headers=bearer(None, token_file))
        self._summing = Summing()
        self._waiting: deque[bytes] = deque()
        self._ended: list[JobSummary] = []
        self._counts = {"batches_sent": 0, "batches_dropped": 0, "samples_rejected": 0, "summaries_sent": 0}
        self._news = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="to-server", daemon=True)
        self._thread.start()

    def offer(self, batch: SampleBatch) -> None:
        """See SampleSender."""
        done = self._summing.add(batch)
        with self._news:
            if len(self._waiting) >= WAITING_MAX:
                self._waiting.popleft()
                self._counts["batches_dropped"] += 1
            self._waiting.append(_encode(batch))
            self._ended += done
            self._news.notify()

    def counts(self) -> Mapping[str, int]:
        """See SampleSender."""
        return {**self._counts, "batches_waiting": len(self._waiting)}

    def close(self, linger_seconds: float) -> None:
        """See SampleSender. Jobs that still run are summed up to here."""
        with self._news:
            self._ended += self._summing.close()
            self._closing = True
            self._news.notify()
        self._thread.join(linger_seconds)
        self._peer.close()

    def _run(self) -> None:
        while True:
            with self._news:
                while not (self._waiting or self._ended or self._closing):
                    self._news.wait()
                if self._closing and not (self._waiting or self._ended):
                    return
            if not self._step():
                with self._news:
                    self._news.wait(_AGAIN_SECONDS)

    def _step(self) -> bool:
        """Send the oldest that wait, then what jobs came to. False when the server takes nothing now."""
        with self._news:
            several: list[bytes] = []
            size = 0
            for body in self._waiting:
                if several and size + len(body) > _BODY_BYTES:
                    break
                several.append(body)
                size += len(body)
            summaries = [] if self._waiting and len(several) < len(self._waiting) else list(self._ended)
        if several and not self._post("/v2/samples", several, "batches_sent"):
            return False
        with self._news:
            for _ in range(min(len(several), len(self._waiting))):
                self._waiting.popleft()
        if summaries and not self._post("/v2/summaries", [_encode(one) for one in summaries], "summaries_sent"):
            return False
        with self._news:
            del self._ended[: len(summaries)]
        return True

    def _post(self, path: str, bodies: list[bytes], counted: str) -> bool:
        """Whether the server has given a definite answer."""
        try:
            answer = self._peer.exchange("POST", path, b"[" + b",".join(bodies) + b"]")
        except PeerAway as fault:
            log.info("up.server_away reason=%r", str(fault))
            return False
        if answer.status == 200:
            self._counts[counted] += len(bodies)
            return True
        text = answer.body[:300].decode("utf-8", "replace")
        if answer.status in _DEFINITE:
            if len(bodies) > 1:
                middle = len(bodies) // 2
                return self._post(path, bodies[:middle], counted) and self._post(path, bodies[middle:], counted)
            self._counts["samples_rejected"] += 1
            log.error("up.rejected path=%s status=%d reason=%r", path, answer.status, text)
            return True
        log.warning("up.not_taken path=%s status=%d reason=%r", path, answer.status, text)
        return False


def measure(host: Host, ways: Ways, address: str, token_file: str | None = None) -> int:
    """Measure this machine and its jobs until a signal asks to end. The file has the token to show the server."""
    signals = Signals()
    with signals.installed():
        sender = ServerSender(address, token_file)
        agent = _agent(host, ways, sender)
        try:
            log.info("node.started node=%s sources=%s", agent.node, ",".join(each.name for each in agent.sources))
            loop(agent, signals, Metrics())
            agent.finish()
        finally:
            agent.close()
            sender.close(_END_SECONDS)
    return 0


def _agent(host: Host, ways: Ways, sender: ServerSender) -> Agent:
    try:
        trees = hierarchies(host)
    except SourceAbsent as fault:
        log.warning("node.no_control_groups reason=%r", str(fault))
        trees = Hierarchies({}, None)
    finder = JobFinder(host, trees, [built_in(name) for name in AUTOMATIC])
    openings = Openings(_wanted(ways), host)
    return Agent(host.name, finder, openings(), sender, ceiling=Ceiling(ways.ceiling_percent), later=openings)


def _wanted(ways: Ways) -> list[Wanted]:
    found = []
    for name in ways.sources:
        struct = registry.module(KIND, name).Settings
        found.append(Wanted(name, struct(), max(getattr(struct, "own_period_seconds", 0.0), ways.period_seconds)))
    return found
