"""The application factory: which endpoint serves which path, and what runs beside them.

The operations of the interface are dispatched by one look into a table and have no middleware before them; pages, and
whatever is not found, are Starlette's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobmeter.contract import Clock, RecordStore, TokenStore
from jobmeter.model.access import Role
from jobmeter.model.question import Scope as Rows
from jobmeter.serve.answer import JSON, Endpoint, Receive, Scope, Send, send_bytes
from jobmeter.serve.counting import count_for_ever
from jobmeter.serve.door import Door, Need
from jobmeter.serve.keyring import Keyring
from jobmeter.serve.letterbox import Letterbox
from jobmeter.serve.listing import Listings
from jobmeter.serve.meter import Meter
from jobmeter.serve.openapi import description
from jobmeter.serve.ours import DeadLetters, RecordsByOutcome
from jobmeter.serve.page import Home
from jobmeter.serve.policy import policy_of
from jobmeter.serve.reads import RECORD_PREFIX, HealthCheck, OneRecord, Readers
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.stream import RecordList, Streams
from jobmeter.serve.writer import Writer
from jobmeter.serve.writes import Writes

EVERYTHING = Rows.everything()
NOT_FOUND = "The requested resource was not found. 404 Not Found"
ONE_RECORD = "/record/{record_id}"


class Application:
    """The server as an ASGI application. `make_app` makes it."""

    def __init__(self, pages: Starlette, endpoints: Mapping[str, Mapping[str, Endpoint]], unmatched: Endpoint) -> None:
        self._pages = pages
        self._endpoints = endpoints
        self._one_record = endpoints[ONE_RECORD]
        self._unmatched = unmatched

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the server."""
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        methods = self._endpoints.get(scope["path"])
        if methods is None:
            if not _names_a_record(scope["raw_path"]):
                await self._unmatched(scope, receive, send)
                return
            methods = self._one_record
        endpoint = methods.get(scope["method"])
        if endpoint is None:
            allow = ", ".join(methods).encode()
            await send_bytes(send, 405, b"", headers=[(b"allow", allow)])
            return
        await endpoint(scope, receive, send)


class Entry(NamedTuple):
    """An endpoint in the table, with what it needs of those who ask.

    `unanswered`: see `Door.guarded`; so it is for the writes of AUDITOR's clients.
    """

    needs: Role | Need
    endpoint: Endpoint
    unanswered: bool = False


def make_app(
    store: RecordStore, settings: ServeSettings, clock: Clock, tokens: TokenStore | None = None
) -> Application:
    """The application over `store`; without `tokens` no bearer token opens anything.

    It takes no care of closing the two: who opened them does.

    It holds no state outside itself, so that several may live in one process.
    """
    meter = Meter()
    readers = Readers()
    writer = Writer(store, settings.limits, meter)
    letterbox = Letterbox(writer, clock)
    writes = Writes(writer, letterbox, settings, meter, lambda record_id: readers.ask(store.one, record_id, EVERYTHING))
    streams = Streams(store, settings.limits, meter)
    health = Entry(Need.NOTHING, HealthCheck(store, readers))
    door = Door(policy_of(settings), Keyring(tokens, readers, clock))
    table: dict[str, dict[str, Entry]] = {
        "/record": {
            "POST": Entry(Role.WRITE, writes.post_record, unanswered=True),
            "PUT": Entry(Role.WRITE, writes.put_record, unanswered=True),
        },
        "/records": {
            "GET": Entry(Role.READ, RecordList(streams)),
            "POST": Entry(Role.WRITE, writes.post_records, unanswered=True),
        },
        ONE_RECORD: {"GET": Entry(Role.READ, OneRecord(store, readers, as_auditor=settings.auditor_status_codes))},
        "/health_check": {"GET": health, "HEAD": health},
        "/metrics": {"GET": Entry(Role.MONITOR, _Metrics(meter, readers))},
        "/openapi.json": {"GET": Entry(Need.A_NAME, _Fixed(description()))},
        "/v2/records": {
            "GET": Entry(Role.READ, Listings(store, readers, streams)),
            "POST": Entry(Role.WRITE, RecordsByOutcome(writer, letterbox, settings, meter)),
        },
        "/v2/dead-letters": {"GET": Entry(Role.ADMINISTER, DeadLetters(store, readers))},
    }

    def behind_the_door(path: str, method: str, entry: Entry) -> Endpoint:
        guarded = door.guarded(entry.needs, entry.endpoint, unanswered=entry.unanswered)
        return meter.measured(path, method, guarded)

    endpoints = {
        path: {method: behind_the_door(path, method, entry) for method, entry in methods.items()}
        for path, methods in table.items()
    }

    @contextlib.asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        writing = asyncio.create_task(writer.run())
        counting = asyncio.create_task(count_for_ever(store, readers, settings.metrics.database, meter))
        yield
        counting.cancel()
        writer.close()
        await writing
        readers.close()

    pages = Starlette(
        routes=[Route("/", Home(store, readers).show)],
        lifespan=life,
        exception_handlers={404: _not_found},
    )
    return Application(pages, endpoints, behind_the_door("default", "", Entry(Need.A_NAME, _Pages(pages))))


def _names_a_record(raw_path: bytes) -> bool:
    rest = raw_path.removeprefix(RECORD_PREFIX)
    return len(rest) < len(raw_path) and rest != b"" and b"/" not in rest


async def _not_found(request: Request, fault: Exception) -> Response:
    del request
    status = fault.status_code if isinstance(fault, HTTPException) else 404
    return Response(NOT_FOUND, status)


class _Pages:
    """Starlette as an endpoint: the status is read from the answer."""

    def __init__(self, pages: Starlette) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        status = 500

        async def watched(message: dict[str, object]) -> None:
            nonlocal status
            if message["type"] == "http.response.start" and isinstance(message["status"], int):
                status = message["status"]
            await send(message)

        await self._pages(scope, receive, watched)  # type: ignore[arg-type]
        return status


class _Metrics:
    """`GET /metrics`."""

    def __init__(self, meter: Meter, readers: Readers) -> None:
        self._meter = meter
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        del scope, receive
        text = await self._readers.ask(generate_latest, self._meter.registry)
        return await send_bytes(send, 200, text, CONTENT_TYPE_PLAIN_0_0_4.encode())


class _Fixed:
    """A JSON document that never changes."""

    def __init__(self, document: bytes) -> None:
        self._document = document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        del scope, receive
        return await send_bytes(send, 200, self._document, JSON)
