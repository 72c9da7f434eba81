"""The application factory: which endpoint serves which path, and what runs beside them.

All are dispatched by one look into a table and have no middleware before them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from starlette.applications import Starlette

from jobmeter.contract import Clock, DocumentStore, RecordStore
from jobmeter.keeping import TokenStore
from jobmeter.serve.answer import TEXT, Endpoint, Receive, Scope, Send, send_bytes
from jobmeter.serve.counting import ConflictCounts, choose_keys, count_conflicts_for_ever, count_for_ever
from jobmeter.serve.door import Door, Need
from jobmeter.serve.folding import fold_for_ever
from jobmeter.serve.gauges import Rhythm, watch_for_ever
from jobmeter.serve.history import tail_of
from jobmeter.serve.keyring import Keyring
from jobmeter.serve.meter import Meter
from jobmeter.serve.policy import policy_of
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import NOTHING_BESIDE, Beside, Entry, Parts, facility_table, parts_of, table
from jobmeter.serve.web.table import page_table, site_of

NOT_FOUND = b"The requested resource was not found. 404 Not Found"


class Application:
    """The server as an ASGI application. `make_app` makes it."""

    def __init__(
        self, life: Starlette, endpoints: Mapping[str, Mapping[str, Endpoint]], unmatched: Endpoint, meter: Meter
    ) -> None:
        self._life = life
        self._endpoints = endpoints
        self._named = {
            path.rpartition("/")[0].encode(): methods for path, methods in endpoints.items() if path.endswith("}")
        }
        self._unmatched = unmatched
        self.tell = meter.tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the server."""
        if scope["type"] != "http":
            await self._life(scope, receive, send)
            return
        methods = self._endpoints.get(scope["path"])
        if methods is None:
            methods = self._of_what_is_named(scope["raw_path"])
            if methods is None:
                await self._unmatched(scope, receive, send)
                return
        endpoint = methods.get(scope["method"])
        if endpoint is None:
            allow = ", ".join(methods).encode()
            await send_bytes(send, 405, b"", headers=[(b"allow", allow)])
            return
        await endpoint(scope, receive, send)

    def _of_what_is_named(self, raw_path: bytes) -> Mapping[str, Endpoint] | None:
        """A record, a node: named by the last segment, or by the one before. As it came, so %2F in it is no slash."""
        folder, _, name = raw_path.rpartition(b"/")
        methods = self._named.get(folder) if name else None
        if methods is None and (tail := tail_of(raw_path)) is not None:
            methods = self._endpoints.get(tail)
        return methods


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
        guarded = door.guarded(
            entry.needs, entry.endpoint, unanswered=entry.unanswered, refused=entry.refused, form=entry.form
        )
        return parts.meter.measured(path, method, guarded)

    site = site_of(parts)
    entries = table(parts)
    if documents is not None:
        entries |= facility_table(parts, documents, keyring)
    for path, methods in page_table(site).items():
        entries[path] = {**entries.get(path, {}), **methods}
    endpoints = {
        path: {method: behind_the_door(path, method, entry) for method, entry in methods.items()}
        for path, methods in entries.items()
    }
    nothing = Entry(Need.A_NAME, NothingThere(site.nothing), refused=site.refused)
    life = Starlette(lifespan=lambda _: _life(parts))
    return Application(life, endpoints, behind_the_door("default", "", nothing), parts.meter)


@contextlib.asynccontextmanager
async def _life(parts: Parts) -> AsyncIterator[None]:
    """What runs beside the endpoints."""
    writing = asyncio.create_task(parts.writer.run())
    choosing = asyncio.create_task(
        choose_keys(parts.store, parts.readers, parts.settings.metrics.database, parts.meter)
    )
    counting = asyncio.create_task(
        count_for_ever(parts.store, parts.readers, parts.settings.metrics.database, parts.meter)
    )
    folding = asyncio.create_task(fold_for_ever(parts.store, parts.readers, parts.writer))
    disputed = None
    if parts.conflicts is not None:
        seconds = parts.settings.metrics.database.frequency
        shown = ConflictCounts()
        parts.meter.show(shown)
        disputed = asyncio.create_task(
            count_conflicts_for_ever(parts.conflicts, parts.readers, shown, parts.meter, seconds)
        )
    joining = None if parts.joiner is None else asyncio.create_task(parts.joiner.run())
    watching = None
    if parts.documents is not None and parts.gauges is not None:
        rhythm = Rhythm(parts.settings.documents.keep_days, parts.settings.metrics.database.frequency)
        watching = asyncio.create_task(
            watch_for_ever(parts.documents, parts.readers, parts.gauges, parts.clock, rhythm)
        )
    yield
    choosing.cancel()
    counting.cancel()
    folding.cancel()
    if disputed is not None:
        disputed.cancel()
    if joining is not None:
        joining.cancel()
    if watching is not None:
        watching.cancel()
    parts.writer.close()
    await writing
    parts.readers.close()


class NothingThere:
    """404: a page for who reads pages, for programs the words of AUDITOR's server."""

    def __init__(self, page: Endpoint) -> None:
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Say that nothing is there."""
        if any(name == b"accept" and b"text/html" in value for name, value in scope["headers"]):
            return await self._page(scope, receive, send)
        return await send_bytes(send, 404, NOT_FOUND, TEXT)
