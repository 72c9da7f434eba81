"""The application factory: which endpoint serves which path, and what runs beside them.

The operations of the interface are dispatched by one look into a table and have no middleware before them; pages, and
whatever is not found, are Starlette's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobmeter.contract import Clock, RecordStore
from jobmeter.serve.answer import JSON, Endpoint, Receive, Scope, Send, send_bytes
from jobmeter.serve.counting import count_for_ever
from jobmeter.serve.letterbox import Letterbox
from jobmeter.serve.listing import Listings
from jobmeter.serve.meter import Meter
from jobmeter.serve.openapi import description
from jobmeter.serve.ours import DeadLetters, RecordsByOutcome
from jobmeter.serve.page import Home
from jobmeter.serve.reads import RECORD_PREFIX, HealthCheck, OneRecord, Readers
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.stream import RecordList, Streams
from jobmeter.serve.totals import RecordTotals
from jobmeter.serve.writer import Writer
from jobmeter.serve.writes import Writes

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


def make_app(store: RecordStore, settings: ServeSettings, clock: Clock) -> Application:
    """The application over `store`. It takes no care of closing the store: who opened it does.

    It holds no state outside itself, so that several may live in one process.
    """
    meter = Meter()
    readers = Readers()
    writer = Writer(store, settings.limits, meter)
    letterbox = Letterbox(writer, clock)
    writes = Writes(writer, letterbox, settings, meter)
    health = HealthCheck(store, readers)
    streams = Streams(store, settings.limits, meter)
    endpoints: dict[str, dict[str, Endpoint]] = {
        "/record": {"POST": writes.post_record, "PUT": writes.put_record},
        "/records": {"GET": RecordList(streams), "POST": writes.post_records},
        ONE_RECORD: {"GET": OneRecord(store, readers, as_auditor=settings.auditor_status_codes)},
        "/health_check": {"GET": health, "HEAD": health},
        "/metrics": {"GET": _Metrics(meter, readers)},
        "/openapi.json": {"GET": _Fixed(description())},
        "/v2/records": {
            "GET": Listings(store, readers, streams),
            "POST": RecordsByOutcome(writer, letterbox, settings, meter),
        },
        "/v2/totals": {"GET": RecordTotals(store, readers)},
        "/v2/dead-letters": {"GET": DeadLetters(store, readers)},
    }
    measured = {
        path: {method: meter.measured(path, method, endpoint) for method, endpoint in methods.items()}
        for path, methods in endpoints.items()
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
    return Application(pages, measured, meter.measured("default", "", _Pages(pages)))


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
