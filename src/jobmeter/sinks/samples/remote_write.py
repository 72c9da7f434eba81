"""Sends samples to a store that takes Prometheus' remote write: Prometheus itself, VictoriaMetrics, Mimir, Thanos.

A metric becomes a series in base units, `jobmeter_NAME_UNIT[_total]`, with the labels node, manager, cluster, jobid and
device. `jobmeter_node_job` is 1 for each job that is on a node.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.model.metric import Metric
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.peer import TIMEOUT_MAX_SECONDS, Answer, Endpoint, Peer, PeerAway
from jobmeter.settings.fault import WrongValue
from jobmeter.wire.remote_write import encode, series

_METRICS_MAX = 10_000
_REASON_MAX_CHARACTERS = 500


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the store is."""

    address: Annotated[
        str, Meta(description="The address that takes remote write.", examples=["http://localhost:8428/api/v1/write"])
    ] = "http://localhost:9090/api/v1/write"
    token_file: Annotated[str | None, Meta(description="A file with a bearer token to show.")] = None
    ca_file: Annotated[str | None, Meta(description="PEM file of an authority to trust besides the system's.")] = None
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=TIMEOUT_MAX_SECONDS, description="How long an answer may take.")
    ] = 30
    samples_at_once: Annotated[int, Meta(ge=1, le=100_000, description="Samples in one request.")] = 1000

    def __post_init__(self) -> None:
        if (fault := self.endpoint.fault()) is not None:
            raise WrongValue("address", fault)

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect to."""
        return Endpoint(self.address, self.timeout_seconds, self.ca_file)


class RemoteWriteSink:
    """A sample sink (see `jobmeter.contract.SampleSink`)."""

    def __init__(self, settings: Settings) -> None:
        self.batch_limit = settings.samples_at_once
        self._token_file = settings.token_file
        self._peer = Peer(settings.endpoint, headers=self._headers)
        self._catalogue: OrderedDict[str, Metric] = OrderedDict()

    def write(self, batch: SampleBatch) -> Sequence[Outcome]:
        """Send the batch. A request that the store cannot take as it is is halved, until the sample is found."""
        for metric in batch.metrics:
            self._catalogue[metric.name] = metric
            self._catalogue.move_to_end(metric.name)
        while len(self._catalogue) > _METRICS_MAX:
            self._catalogue.popitem(last=False)
        try:
            return self._send(batch.samples)
        except PeerAway as fault:
            return [Keep(reason=str(fault))] * len(batch.samples)

    def flush(self) -> None:
        """Nothing: what was accepted is there."""

    def reopen(self) -> None:
        """Nothing: there are no files."""

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    def _send(self, samples: Sequence[Sample]) -> list[Outcome]:
        found = series(samples, self._catalogue)
        if not found:
            return [Accepted()] * len(samples)
        answer = self._peer.exchange("POST", "", encode(found))
        if 200 <= answer.status < 300:
            return [Accepted()] * len(samples)
        if answer.status in (400, 413) and len(samples) > 1:
            middle = len(samples) // 2
            return [*self._send(samples[:middle]), *self._send(samples[middle:])]
        if answer.status in (400, 413):
            return [Rejected(f"status {answer.status}: {_text(answer)}")]
        return [Keep(_asked_seconds(answer), f"status {answer.status}: {_text(answer)}")] * len(samples)

    def _headers(self) -> dict[str, str]:
        found = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        if self._token_file is not None:
            found["Authorization"] = f"Bearer {Path(self._token_file).read_text(encoding='utf-8').strip()}"
        return found


def open_sink(settings: Settings) -> RemoteWriteSink:
    """The sink; the store may be away. Raises OSError when the token's file cannot be read."""
    if settings.token_file is not None:
        Path(settings.token_file).read_text(encoding="utf-8")
    return RemoteWriteSink(settings)


def _asked_seconds(answer: Answer) -> float:
    asked = answer.headers.get("retry-after", "").strip()
    return float(asked[:6]) if asked.isascii() and asked.isdigit() else 0.0


def _text(answer: Answer) -> str:
    return answer.body[:_REASON_MAX_CHARACTERS].decode("utf-8", "replace").strip() or "no details"
