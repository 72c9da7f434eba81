"""What a pod used, asked of a Prometheus that scrapes the kubelets' `/metrics/resource`.

The questions are AUDITOR's: the increase of `pod_cpu_usage_seconds_total` over the pod's life in whole core seconds,
and the largest `pod_memory_working_set_bytes`.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from jobmeter.model.record import AMOUNT_MAX
from jobmeter.peer import Endpoint, Peer, PeerAway

COMPONENTS = ("cpu", "memory")
"""Core seconds and bytes."""

_SECOND = timedelta(seconds=1)


class UsageAway(Exception):  # noqa: N818 - the names say the facts
    """Prometheus gave no answer now."""


class UsageUnfit(Exception):  # noqa: N818
    """Prometheus answered with something that is no usage of one pod."""


class _Series(Struct, frozen=True):
    value: tuple[float, str]


class _Data(Struct, frozen=True, rename="camel"):
    result_type: str
    result: tuple[_Series, ...]


class _Answer(Struct, frozen=True):
    status: str
    data: _Data


class Usage:
    """Asks one Prometheus. Not for several threads at once."""

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self._peer = Peer(Endpoint(address, timeout_seconds))

    def of(self, namespace: str, pod: str, start: datetime, stop: datetime) -> dict[str, int]:
        """The components that Prometheus knows, none or both or one. Raises UsageAway, UsageUnfit."""
        seconds = max(0, (stop - start) // _SECOND) + 1
        known = {name: self._ask(text, stop) for name, text in questions(namespace, pod, seconds).items()}
        return {name: value for name, value in known.items() if value is not None}

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    def _ask(self, question: str, moment: datetime) -> int | None:
        query = urlencode({"query": question, "time": str(int(moment.timestamp()))})
        try:
            answer = self._peer.exchange("GET", f"/api/v1/query?{query}")
        except PeerAway as fault:
            raise UsageAway(str(fault)) from fault
        if answer.status >= 500 or answer.status in (408, 429):
            raise UsageAway(f"Prometheus answers with status {answer.status}")
        if answer.status != 200:
            raise UsageUnfit(f"Prometheus answers with status {answer.status}")
        return value_in(answer.body)


def questions(namespace: str, pod: str, seconds: int) -> dict[str, str]:
    """The question per component, about the `seconds` before the moment asked for."""
    chosen = f'{{namespace="{_escaped(namespace)}",pod="{_escaped(pod)}"}}'
    increase = f"increase(pod_cpu_usage_seconds_total{chosen}[{seconds}s])[{seconds}s:]"
    largest = f"pod_memory_working_set_bytes{chosen}[{seconds}s]"
    return {
        name: f"sum by (namespace,pod) (max_over_time({inner}))"
        for name, inner in zip(COMPONENTS, (increase, largest), strict=True)
    }


def value_in(body: bytes) -> int | None:
    """The one value of an instant query's answer, rounded half up; None when it has none. Raises UsageUnfit."""
    try:
        data = msgspec.json.decode(body, type=_Answer).data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise UsageUnfit(f"Prometheus answered with something else than a vector: {fault}") from None
    if data.result_type != "vector" or len(data.result) > 1:
        raise UsageUnfit(f"Prometheus answered with {len(data.result)} series of type {data.result_type}")
    if not data.result:
        return None
    text = data.result[0].value[1]
    try:
        value = Decimal(text)
        if value.is_nan():
            return None
        if not 0 <= value <= AMOUNT_MAX or math.isinf(value):
            raise UsageUnfit(f"Prometheus answered with {text[:40]!r}")
        return int(value.to_integral_value(ROUND_HALF_UP))
    except InvalidOperation:
        raise UsageUnfit(f"Prometheus answered with {text[:40]!r}") from None


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
