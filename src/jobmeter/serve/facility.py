"""Questions about the facility: `GET /v2/facility/users`, `/sessions`, `/queues`, `/waits`, `/hosts`.

All take `cluster` and `format`; all but `hosts` take `since` and `until`. Answers are made of documents as they came:
the same user on several hosts is one user, and the space of a server is counted once however many hosts mount it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import msgspec
from msgspec import Struct

from jobmeter.contract import Clock, DocumentStore, StoreUnavailable
from jobmeter.model.facility import Clusters, Received, Waits
from jobmeter.query.facility import Unit, sessions, space, spans, waits
from jobmeter.query.fault import BadQuery
from jobmeter.serve.answer import Endpoint, Problem, Receive, Scope, Send, send_away, send_bytes, send_json
from jobmeter.serve.asker import asker_of
from jobmeter.serve.documents import clusters_of
from jobmeter.serve.form import Form, form_asked
from jobmeter.serve.parameters import BadParameter, Parameters
from jobmeter.serve.reads import Readers
from jobmeter.wire import spreadsheet

HOST_KINDS = ("CPU", "MEM", "NETWORK", "DISK")
NEWEST = timedelta(minutes=30)
"""A host that was not heard of for longer is not shown as it once was."""

_SPANS_MAX = 400
_SESSIONS_MAX = 10_000

_fields = msgspec.json.Decoder(dict[str, Any]).decode


class Users(Struct, frozen=True):
    """Different people from `start` on, before `stop`: in all, and by way of use (one person may use several)."""

    start: date
    stop: date
    any: int
    by_access: dict[str, int]


class SessionShown(Struct, frozen=True):
    """A session as far as it was observed."""

    user: str
    node: str
    first: datetime
    last: datetime
    seconds: float


class Sessions(Struct, frozen=True):
    """The sessions of a span in order of their begin; `cut` when there are more than are shown."""

    sessions: list[SessionShown]
    number: int
    cut: bool


class QueuePoint(Struct, frozen=True):
    """The means of a queue's documents from `start` on. What none of them tells is left out."""

    start: datetime
    cluster: str
    queue: str
    means: dict[str, float]


class UsersOfSpans(Struct, frozen=True):
    """Different people in each span of time."""

    users: list[Users]


class QueuesOfSteps(Struct, frozen=True):
    """The means of the queues in each step of time."""

    queues: list[QueuePoint]


class Host(Struct, frozen=True):
    """A host as its newest documents tell."""

    cluster: str
    node: str
    observed: datetime
    load: float | None
    memory: dict[str, int] | None
    network: dict[str, float] | None
    disks: list[dict[str, Any]]


class Hosts(Struct, frozen=True):
    """All hosts, and the space of all their disks, that of a server counted once."""

    hosts: list[Host]
    space: dict[str, int]


class Questions:
    """The endpoints, over one store."""

    def __init__(self, store: DocumentStore, readers: Readers, clock: Clock) -> None:
        self._store = store
        self._readers = readers
        self._clock = clock

    def endpoints(self) -> dict[str, Endpoint]:
        """By path."""
        answers = {
            "users": self._users, "sessions": self._sessions, "queues": self._queues, "waits": self._waits,
            "hosts": self._hosts,
        }  # fmt: skip
        return {f"/v2/facility/{name}": self._endpoint(answer) for name, answer in answers.items()}

    def _endpoint(self, answer: Callable[[Clusters, Parameters], Awaitable[Struct]]) -> Endpoint:
        async def serve(scope: Scope, receive: Receive, send: Send) -> int:
            del receive
            try:
                form, query = form_asked(scope, ("json", "csv"))
                found = await answer(clusters_of(asker_of(scope)), Parameters(query, self._clock.now()))
            except BadParameter as fault:
                return await send_json(send, 400, Problem(str(fault), fault.name))
            except BadQuery as fault:
                return await send_json(send, 400, Problem(str(fault), fault.key or None, fault.reason))
            except StoreUnavailable as fault:
                return await send_away(send, str(fault))
            if form is Form.CSV:
                return await send_bytes(send, 200, spreadsheet.csv_of_values(_rows(found)), spreadsheet.TYPE)
            return await send_json(send, 200, found)

        return serve

    async def _users(self, clusters: Clusters, given: Parameters) -> UsersOfSpans:
        cluster, unit = given.text("cluster"), cast("Unit", given.choice("by", ("day", "week", "month")))
        first, last = given.days(30, 3660)
        given.require_known()
        wanted = list(spans(first, last, unit))
        if len(wanted) > _SPANS_MAX:
            raise BadParameter("since", f"asks for more than {_SPANS_MAX} of a {unit}")
        counts = await self._readers.ask(self._store.users, clusters, cluster, wanted)
        return UsersOfSpans([Users(count.start, count.stop, count.any, count.by_access) for count in counts])

    async def _sessions(self, clusters: Clusters, given: Parameters) -> Sessions:
        cluster, span = given.text("cluster"), given.span(timedelta(days=1), timedelta(days=31))
        given.require_known()
        found = await self._readers.ask(lambda: sessions(self._store.seen(clusters, cluster, span)))
        shown = [
            SessionShown(one.user, one.node, one.first, one.last, (one.last - one.first).total_seconds())
            for one in found[:_SESSIONS_MAX]
        ]
        return Sessions(shown, len(found), len(found) > _SESSIONS_MAX)

    async def _queues(self, clusters: Clusters, given: Parameters) -> QueuesOfSteps:
        cluster, queue = given.text("cluster"), given.text("queue")
        span = given.span(timedelta(days=1), timedelta(days=400))
        step = given.number("step_seconds", 3600, 31 * 86_400) or 3600
        given.require_known()

        def asked() -> list[QueuePoint]:
            documents = self._store.series(clusters, cluster, "condorqueue", span)
            return queue_points((one for one in documents if queue in (None, one.subject)), step)

        return QueuesOfSteps(await self._readers.ask(asked))

    async def _waits(self, clusters: Clusters, given: Parameters) -> Waits:
        cluster, span = given.text("cluster"), given.span(timedelta(days=1), timedelta(days=31))
        given.require_known()
        return waits(await self._readers.ask(self._store.sights, clusters, cluster, span))

    async def _hosts(self, clusters: Clusters, given: Parameters) -> Hosts:
        cluster = given.text("cluster")
        given.require_known()
        since = self._clock.now() - NEWEST
        return hosts_of(await self._readers.ask(self._store.newest, clusters, cluster, HOST_KINDS, since))


def _rows(found: Struct) -> Iterable[Mapping[str, Any]]:
    """What stands in a line each, in plain values: the list that an answer holds, or the answer itself."""
    whole: dict[str, Any] = msgspec.to_builtins(found)
    lists = [value for value in whole.values() if isinstance(value, list)]
    return lists[0] if lists else [whole]


def queue_points(documents: Iterable[Received], step_seconds: int) -> list[QueuePoint]:
    """The means of the queues' numbers in each step of time, which begin at multiples of it since 1970."""
    sums: dict[tuple[int, str, str], dict[str, list[float]]] = {}
    for document in documents:
        begin = int(document.observed.timestamp()) // step_seconds * step_seconds
        numbers = sums.setdefault((begin, document.cluster, document.subject or ""), {})
        for name, value in _fields(document.body).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers.setdefault(name, []).append(value)
    return [
        QueuePoint(
            datetime.fromtimestamp(begin, UTC),
            cluster,
            queue,
            {name: sum(values) / len(values) for name, values in numbers.items()},
        )
        for (begin, cluster, queue), numbers in sorted(sums.items())
    ]


def hosts_of(documents: list[Received]) -> Hosts:
    """The hosts that the newest documents tell of."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for document in documents:
        host = found.setdefault((document.cluster, document.node or ""), {"disks": [], "observed": document.observed})
        host["observed"] = max(host["observed"], document.observed)
        fields = _fields(document.body)
        match document.kind:
            case "CPU":
                host["load"] = fields["load"]
            case "MEM":
                host["memory"] = {name: fields[name] for name in ("total", "available")}
            case "NETWORK":
                host["network"] = _rates(fields["network"])
            case _:
                host["disks"].append({key: fields[key] for key in fields if key not in ("kind", "cluster")})
    hosts = [
        Host(cluster, node, host["observed"], host.get("load"), host.get("memory"), host.get("network"), host["disks"])
        for (cluster, node), host in found.items()
    ]
    return Hosts(hosts, space(disk for host in hosts for disk in host.disks))


def _rates(network: dict[str, float]) -> dict[str, float] | None:
    """Bytes per second; None for the superseded program's first document, whose interval is nothing."""
    interval = network["interval"]
    if interval <= 0:
        return None
    return {f"{name}_bytes_per_second": network[name] / interval for name in ("sent", "received")}
