"""The collector's report to the server: how its spool is, and what it took and handed on, per day.

What is to be told stands in the spool until the server has taken it, so nothing of it is lost by any outage.
"""

from __future__ import annotations

import logging
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from jobmeter import __version__
from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.spool import Spool
from jobmeter.model.collection import Collection, Cost
from jobmeter.peer import Endpoint, Peer, PeerAway
from jobmeter.settings.deployment import Deployment
from jobmeter.wire.collection import encode_collection

EVERY_SECONDS = 60.0
COSTS_FROM_SECONDS = 10.0
"""A process that has run for less says nothing of what collecting costs."""
_DAYS_MAX = 1000

log = logging.getLogger("jobmeter.run")


class Reporter:
    """Tells of one spool. Not for several threads at once."""

    def __init__(self, spool: Spool, deployment: Deployment, endpoint: Endpoint) -> None:
        self._spool = spool
        self._deployment = deployment
        self._peer = Peer(endpoint)
        self._began = time.monotonic(), time.process_time()

    def tell(self) -> bool:
        """Tell what was not told yet. False when the server did not take it now. Raises SpoolFault."""
        source = self._deployment.source
        while True:
            report = self._spool.report(source, _DAYS_MAX)
            body = encode_collection(
                Collection(
                    source,
                    report.spool,
                    __version__,
                    self._deployment.prefix,
                    report.status.entries,
                    report.status.letters,
                    None if report.status.oldest_seconds is None else max(0, report.status.oldest_seconds),
                    tuple(count for _, count in report.days),
                    self._cost(),
                )
            )
            try:
                answer = self._peer.exchange("POST", "/v2/collections", body)
            except PeerAway as fault:
                log.debug("report.put_off reason=%r", str(fault))
                return False
            if answer.status != 200:
                # 404: an AUDITOR server, which keeps no reports.
                log.log(
                    logging.DEBUG if answer.status in (404, 405) else logging.WARNING,
                    "report.not_taken status=%d answer=%r",
                    answer.status,
                    answer.body[:200],
                )
                return False
            self._spool.reported(source, report)
            if len(report.days) < _DAYS_MAX:
                return True

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    def _cost(self) -> Cost | None:
        """What this process used since we were made; None of one that has just begun."""
        up, cpu = time.monotonic() - self._began[0], time.process_time() - self._began[1]
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Cost(round(up, 3), round(cpu, 3), peak_bytes) if up >= COSTS_FROM_SECONDS else None


def tell_once(spool: Spool, deployment: Deployment, endpoint: Endpoint) -> None:
    """Tell what there is to tell; what the server does not take now waits in the spool."""
    reporter = Reporter(spool, deployment, endpoint)
    try:
        reporter.tell()
    finally:
        reporter.close()


@contextmanager
def reported(spool: Spool, deployment: Deployment, endpoint: Endpoint) -> Iterator[None]:
    """Within, the server is told every minute, and once more at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=_tell_on, args=(spool, deployment, endpoint, stop), name="report", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(endpoint.timeout_seconds)


def _tell_on(spool: Spool, deployment: Deployment, endpoint: Endpoint, stop: threading.Event) -> None:
    reporter = Reporter(spool, deployment, endpoint)
    try:
        while True:
            ended = stop.wait(EVERY_SECONDS)
            try:
                reporter.tell()
            except SpoolFault as fault:
                log.warning("report.spool_unavailable reason=%r", fault.reason)
            if ended:
                return
    finally:
        reporter.close()
