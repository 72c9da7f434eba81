"""The application factory: which endpoint serves which path, and what runs beside them.

The operations of the interface are dispatched by one look into a table and have no middleware before them; pages, and
whatever is not found, are Starlette's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobmeter.contract import Clock, DocumentStore, RecordStore, TokenStore
from jobmeter.serve.answer import Endpoint, Receive, Scope, Send, send_bytes
from jobmeter.serve.counting import count_for_ever
from jobmeter.serve.door import Door, Need
from jobmeter.serve.folding import fold_for_ever
from jobmeter.serve.gauges import Rhythm, watch_for_ever
from jobmeter.serve.history import tail_of
from jobmeter.serve.keyring import Keyring
from jobmeter.serve.meter import Meter
from jobmeter.serve.page import Home
from jobmeter.serve.policy import policy_of
from jobmeter.serve.reads import RECORD_PREFIX
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import NOTHING_BESIDE, ONE_RECORD, Beside, Entry, Parts, facility_table, parts_of, table

NOT_FOUND = "The requested resource was not found. 404 Not Found"


class Application:
    """The server as an ASGI application. `make_app` makes it."""

    def __init__(
        self, pages: Starlette, endpoints: Mapping[str, Mapping[str, Endpoint]], unmatched: Endpoint, meter: Meter
    ) -> None:
        self._pages = pages
        self._endpoints = endpoints
        self._one_record = endpoints[ONE_RECORD]
        self._unmatched = unmatched
        self.tell = meter.tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the server."""
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        methods = self._endpoints.get(scope["path"])
        if methods is None:
            methods = self._of_a_record(scope["raw_path"])
            if methods is None:
                await self._unmatched(scope, receive, send)
                return
        endpoint = methods.get(scope["method"])
        if endpoint is None:
            allow = ", ".join(methods).encode()
            await send_bytes(send, 405, b"", headers=[(b"allow", allow)])
            return
        await endpoint(scope, receive, send)

    def _of_a_record(self, raw_path: bytes) -> Mapping[str, Endpoint] | None:
        if _names_a_record(raw_path):
            return self._one_record
        tail = tail_of(raw_path)
        return None if tail is None else self._endpoints.get(tail)


def make_app(  # noqa: PLR0913 - one argument per store that a server may have
    store: RecordStore,
    settings: ServeSettings,
    clock: Clock,
    tokens: TokenStore | None = None,
    documents: DocumentStore | None = None,
    *,
    beside: Beside = NOTHING_BESIDE,
) -> Application:
    """The application over `store`; without `tokens` no bearer token opens anything, `beside` has what else is served.

    Without `documents` facility documents are not received. It takes no care of closing these: who opened them does.
    It holds no state outside itself, so that several may live in one process.
    """
    parts = parts_of(store, settings, clock, documents, beside)
    keyring = Keyring(tokens, parts.readers, clock)
    door = Door(policy_of(settings), keyring)

    def behind_the_door(path: str, method: str, entry: Entry) -> Endpoint:
        guarded = door.guarded(entry.needs, entry.endpoint, unanswered=entry.unanswered)
        return parts.meter.measured(path, method, guarded)

    pages = Starlette(
        routes=[Route("/", Home(store, parts.readers).show)],
        lifespan=lambda _: _life(parts),
        exception_handlers={404: _not_found},
    )
    page = Entry(Need.A_NAME, _Pages(pages))
    entries = table(parts)
    if documents is not None:
        entries |= facility_table(parts, documents, keyring)
        entries["/"] = {**entries["/"], "GET": page, "HEAD": page}
    endpoints = {
        path: {method: behind_the_door(path, method, entry) for method, entry in methods.items()}
        for path, methods in entries.items()
    }
    return Application(pages, endpoints, behind_the_door("default", "", page), parts.meter)


@contextlib.asynccontextmanager
async def _life(parts: Parts) -> AsyncIterator[None]:
    """What runs beside the endpoints."""
    writing = asyncio.create_task(parts.writer.run())
    counting = asyncio.create_task(
        count_for_ever(parts.store, parts.readers, parts.settings.metrics.database, parts.meter)
    )
    folding = asyncio.create_task(fold_for_ever(parts.store, parts.readers, parts.writer))
    watching = None
    if parts.documents is not None and parts.gauges is not None:
        rhythm = Rhythm(parts.settings.documents.keep_days, parts.settings.metrics.database.frequency)
        watching = asyncio.create_task(
            watch_for_ever(parts.documents, parts.readers, parts.gauges, parts.clock, rhythm)
        )
    yield
    counting.cancel()
    folding.cancel()
    if watching is not None:
        watching.cancel()
    parts.writer.close()
    await writing
    parts.readers.close()


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
