"""The page at `/`: what this server is, how many records it holds, where things are. No script, no outside resource."""

from __future__ import annotations

import asyncio
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse

from jobmeter import __version__
from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.model.question import Scope
from jobmeter.serve.asker import asker_of
from jobmeter.serve.operations import OPERATIONS
from jobmeter.serve.reads import Readers

EVERYTHING = Scope.everything()
COUNT_SECONDS = 5.0
"""How long the page waits for a count, and how long it shows the same one: a large database takes a second for it."""

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>jobmeter</title></head>
<body>
<h1>jobmeter {version}</h1>
<p>{count}</p>
<h2>Interface</h2>
<table>
<thead><tr><th scope="col">Method</th><th scope="col">Path</th><th scope="col">What it does</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
<p>The same for programs: <a href="openapi.json">openapi.json</a>. The state of this server:
<a href="metrics">metrics</a>. What was refused for good: <a href="v2/dead-letters">dead letters</a>.</p>
</body>
</html>
"""


class Home:
    """The endpoint."""

    def __init__(self, store: RecordStore, readers: Readers) -> None:
        self._store = store
        self._readers = readers
        self._counted: tuple[float, int] | None = None

    async def show(self, request: Request) -> HTMLResponse:
        """The page with the present number of records."""
        if asker_of(request.scope).scope != EVERYTHING:
            return HTMLResponse(
                page("How many records there are is told to those who may read all of them."), headers=_HEADERS
            )
        return HTMLResponse(page(await self._count()), headers=_HEADERS)

    async def _count(self) -> str:
        now = asyncio.get_running_loop().time()
        if self._counted is None or now - self._counted[0] > COUNT_SECONDS:
            self._counted = None
            try:
                async with asyncio.timeout(COUNT_SECONDS):
                    self._counted = now, (await self._readers.ask(self._store.counts, None)).get("", 0)
            except (StoreUnavailable, TimeoutError):
                return "The database does not answer now."
        count = self._counted[1]
        noun = "record" if count == 1 else "records"
        return f"{count:,} {noun} stored."


def page(count: str) -> str:
    """The page as HTML; all that is put in is escaped."""
    rows = "\n".join(
        f"<tr><td>{escape(one.method)}</td><td><code>{escape(one.path)}</code></td><td>{escape(one.summary)}</td></tr>"
        for one in OPERATIONS
    )
    return _PAGE.format(version=escape(__version__), count=escape(count), rows=rows)
