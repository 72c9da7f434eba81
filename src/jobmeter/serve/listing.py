"""`GET /v2/records`: pages behind cursors, and whole answers as JSON lines, CSV or Parquet, by `Accept` or `format`.

JSON comes in pages. The other forms are a page where `limit` asks for one, else the whole answer as a stream. A page
tells where the next one begins in the header `Link` (RFC 8288), JSON also in its body.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from jobmeter.contract import Clock, RecordStore, StoreUnavailable
from jobmeter.model.question import Page, Question
from jobmeter.query.cursor import cursor_of
from jobmeter.query.fault import BadQuery
from jobmeter.query.listing import Listing, parse_listing
from jobmeter.serve.answer import JSON, Header, Problem, Receive, Scope, Send, send_away, send_bytes, send_json
from jobmeter.serve.asker import asker_of
from jobmeter.serve.filed import send_file
from jobmeter.serve.form import Form, form_asked
from jobmeter.serve.framing import JSON_LINES, CsvFraming, Framing
from jobmeter.serve.instant import check_instant
from jobmeter.serve.reads import Readers
from jobmeter.serve.refusing import problem_of
from jobmeter.serve.stream import Streams
from jobmeter.wire.record_csv import CSV_COLUMNS, FOUND, known_column
from jobmeter.wire.record_parquet import ParquetNotInstalled, write_parquet

PAGE_DEFAULT = 1000
PAGE_MAX = 10_000
"""More records than this are no page."""
PAGE_BYTES = 8 * 2**20
"""A page ends earlier where its records reach this size."""
PARQUET = Form.PARQUET.value[0].encode()


class RecordPage(Struct, frozen=True):
    """A page of records; `next` is the cursor of the page behind it, null when there is none."""

    records: list[Raw]
    next: str | None


class Listings:
    """The endpoint."""

    def __init__(self, store: RecordStore, readers: Readers, streams: Streams, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._readers = readers
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer with the records that the query string asks for, in the form that `Accept` asks for."""
        try:
            form, query = form_asked(scope)
            listing = parse_listing(query, asker_of(scope).scope)
            _check_columns(listing.columns)
            check_instant(listing.question.as_of_us, self._clock)
        except BadQuery as fault:
            return await send_json(send, 400, problem_of(fault))
        if form is None:
            known = ", ".join(each.value[0] for each in Form)
            return await send_json(send, 406, Problem(f"Accept names no form that there is: {known}"))
        limit = listing.question.limit
        if form is not Form.JSON and (limit is None or limit > PAGE_MAX):
            return await self._whole(listing, form, scope, receive, send)
        try:
            return await self._page(listing, form, scope, send)
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))

    async def _page(self, listing: Listing, form: Form, scope: Scope, send: Send) -> int:
        wanted = PAGE_DEFAULT if listing.question.limit is None else listing.question.limit
        question = replace(listing.question, limit=min(wanted, PAGE_MAX))
        page = await self._readers.ask(self._store.page, question, PAGE_BYTES)
        cursor = None if page.last is None else cursor_of(listing.question, page.last)
        headers = [] if cursor is None else [(b"link", _link(scope, cursor))]
        if form is Form.JSON:
            body = await self._readers.ask(_as_json, page, cursor)
            return await send_bytes(send, 200, body, JSON, headers)
        if form is Form.PARQUET:
            return await self._parquet([_lines(page)] if page.bodies else [], scope, send, headers)
        framing = _framing(form, listing.columns)
        body = await self._readers.ask(_framed, framing, page)
        return await send_bytes(send, 200, body, framing.content_type, headers)

    async def _whole(self, listing: Listing, form: Form, scope: Scope, receive: Receive, send: Send) -> int:
        if form is not Form.PARQUET:
            framing = _framing(form, listing.columns)
            return await self._streams.answer(listing.question, framing, scope, receive, send)
        with self._streams.place() as there_is_room:
            if not there_is_room:
                return await send_away(send, "too many lists of records are being sent")
            try:
                return await self._parquet(_stream(self._store, listing.question), scope, send, [])
            except StoreUnavailable as fault:
                return await send_away(send, str(fault))

    async def _parquet(self, pieces: Iterable[bytes], scope: Scope, send: Send, headers: Sequence[Header]) -> int:
        """The file is made whole before its first byte is sent: what fails is told by a status."""
        folder = Path(await self._readers.ask(tempfile.mkdtemp, prefix="jobmeter-"))
        path = folder / "records.parquet"
        try:
            await self._streams.aside(write_parquet, pieces, path)
            told = [(b"content-type", PARQUET), (b"content-disposition", b'attachment; filename="records.parquet"')]
            return await send_file(scope, send, path, [*told, *headers], self._streams.reader_seconds)
        except ParquetNotInstalled as fault:
            return await send_json(send, 406, Problem(str(fault)))
        except OSError as fault:
            return await send_away(send, f"the file cannot be made: {fault}")
        finally:
            await self._readers.ask(shutil.rmtree, folder, ignore_errors=True)


def _check_columns(columns: Sequence[str]) -> None:
    for name in columns:
        if not known_column(name) and columns != (FOUND,):
            raise BadQuery("columns", f"there is no column {name[:80]!r}")


def _framing(form: Form, columns: Sequence[str]) -> Framing:
    return Framing(JSON_LINES) if form is Form.LINES else CsvFraming(columns or CSV_COLUMNS)


def _stream(store: RecordStore, question: Question) -> Iterable[bytes]:
    yield from store.stream(question)


def _lines(page: Page) -> bytes:
    return b"\n".join([*page.bodies, b""])


def _framed(framing: Framing, page: Page) -> bytes:
    return framing.first(framing.recoded(_lines(page)) if page.bodies else b"") + framing.last


def _as_json(page: Page, cursor: str | None) -> bytes:
    return msgspec.json.encode(RecordPage([Raw(body) for body in page.bodies], cursor))


def _link(scope: Scope, cursor: str) -> bytes:
    query: bytes = scope["query_string"]
    kept = [part for part in query.split(b"&") if part and not part.startswith(b"cursor=")]
    # What may stand in a query stays as it is; what could end the header or the address is encoded.
    asked = b"&".join([*kept, b"cursor=" + cursor.encode()])
    target = quote(asked, safe="%&=+[]:;,/?@!$'()*-._~")
    return f'</v2/records?{target}>; rel="next"'.encode()
