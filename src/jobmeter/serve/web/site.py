"""All pages as endpoints: who may see which, what becomes of faults, forms, and paths that nothing is at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import parse_qsl, unquote_to_bytes

from jobmeter.contract import Clock, StoreUnavailable
from jobmeter.model.access import Asker
from jobmeter.registry import loaded_from
from jobmeter.serve.answer import UNANSWERED, Endpoint, Header, Receive, Scope, Send, send_bytes
from jobmeter.serve.asker import KEY, asker_of
from jobmeter.serve.parameters import BadParameter, Parameters
from jobmeter.serve.reads import Readers
from jobmeter.serve.web.assets import Assets
from jobmeter.serve.web.guard import HEADERS, foreign_form
from jobmeter.serve.web.kept import Kept
from jobmeter.serve.web.page import NotThere, Page, Stores, Visit
from jobmeter.serve.web.paper import Paper, Where

HTML = b"text/html; charset=utf-8"
PLACE = "jobmeter.serve.pages"
FORM_BYTES_MAX = 64 * 1024

log = logging.getLogger("jobmeter.serve")

_TITLES = {
    400: "That cannot be shown",
    401: "Say who you are",
    403: "Not for you",
    404: "Nothing is here",
    503: "Not now",
}


def pages_found() -> list[Page]:
    """The pages that there are: one per module in the place for them."""
    found = []
    for module in loaded_from(PLACE):
        page = getattr(module, "PAGE", None)
        if not isinstance(page, Page):
            raise TypeError(f"{module.__name__} binds no PAGE")
        found.append(page)
    return found


class Site:
    """The pages over their stores. One per application."""

    def __init__(self, stores: Stores, readers: Readers, clock: Clock, pages: Iterable[Page] | None = None) -> None:
        self.pages = pages_found() if pages is None else list(pages)
        self.assets = Assets()
        self._stores = stores
        self._readers = readers
        self._clock = clock
        self._kept = Kept()
        self._paper = Paper(self.pages, self.assets)

    def shown(self, page: Page) -> Endpoint:
        """The endpoint that shows a page."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> int:
            del receive
            where = Where(asker_of(scope), scope["raw_path"], page)
            if not page.sees(asker_of(scope)):
                return await self._told(send, 403, "You may not see this page.", where)

            def drawn() -> bytes:
                return self._paper.printed(page.template, where, page.show(self._visit(scope, page)))

            return await self._answered(send, where, drawn)

        return serve

    def acted(self, page: Page) -> Endpoint:
        """The endpoint that takes the forms of a page."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> int:
            where = Where(asker_of(scope), scope["raw_path"], page)
            act = page.act
            if act is None or not page.sees(asker_of(scope)):
                return await self._told(send, 403, "You may not do this.", where)
            if (fault := foreign_form(scope)) is not None:
                log.warning("pages.foreign_form path=%r reason=%r", scope["path"], fault)
                return await self._told(send, 403, f"Nothing was done: {fault}.", where)
            body = await _form_body(receive)
            if body is None:
                return UNANSWERED
            try:
                fields = _fields(body)
                onward = await self._readers.ask(act, self._visit(scope, page), fields)
            except (BadParameter, NotThere, StoreUnavailable) as fault_:
                return await self._told(send, _status(fault_), str(fault_), where)
            place = where.root + onward.lstrip("/")
            return await send_bytes(send, 303, b"", headers=[(b"location", place.encode()), *HEADERS])

        return serve

    async def nothing(self, scope: Scope, receive: Receive, send: Send) -> int:
        """The answer for a path at which there is nothing."""
        del receive
        return await self._told(send, 404, "There is no page at this address.", _where(scope))

    async def refused(self, scope: Scope, send: Send, status: int, sentence: str, headers: Iterable[Header]) -> int:
        """The page for those whom the door does not let in."""
        where = Where(None, scope["raw_path"])
        return await self._told(send, status, f"{sentence[:1].upper()}{sentence[1:]}.", where, headers)

    def _visit(self, scope: Scope, page: Page) -> Visit:
        now = self._clock.now()
        given = Parameters(scope["query_string"], now)
        return Visit(asker_of(scope), self._stores, now, given, _named(scope, page), self._kept)

    async def _answered(self, send: Send, where: Where, drawn: Callable[[], bytes]) -> int:
        try:
            body = await self._readers.ask(drawn)
        except (BadParameter, NotThere, StoreUnavailable) as fault:
            return await self._told(send, _status(fault), str(fault), where)
        return await send_bytes(send, 200, body, HTML, HEADERS)

    async def _told(self, send: Send, status: int, sentence: str, where: Where, headers: Iterable[Header] = ()) -> int:
        values = {"title": _TITLES[status], "sentence": sentence}
        body = self._paper.printed("fault.html", where, values)
        more = [(b"retry-after", b"5")] if status == 503 else []
        return await send_bytes(send, status, body, HTML, [*HEADERS, *more, *headers])


def _status(fault: Exception) -> int:
    if isinstance(fault, StoreUnavailable):
        return 503
    return 404 if isinstance(fault, NotThere) else 400


def _where(scope: Scope) -> Where:
    asker: Asker | None = scope.get(KEY)
    return Where(asker, scope["raw_path"])


def _named(scope: Scope, page: Page) -> str:
    """The last segment of the path, where the page wants it."""
    if not page.path.endswith("}"):
        return ""
    try:
        return unquote_to_bytes(scope["raw_path"].rpartition(b"/")[2]).decode()
    except UnicodeDecodeError:
        raise NotThere("The address is not UTF-8 text.") from None


async def _form_body(receive: Receive) -> bytes | None:
    """The posted form, cut at its bound; None when the client went away."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece: bytes = message.get("body", b"")
        body += piece[: FORM_BYTES_MAX + 1]
        if not message.get("more_body", False) or len(body) > FORM_BYTES_MAX:
            return body


def _fields(body: bytes) -> Mapping[str, str]:
    """The fields of a form as browsers encode it; of two with one name the last."""
    if len(body) > FORM_BYTES_MAX:
        raise BadParameter("form", f"is larger than {FORM_BYTES_MAX} bytes")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    except UnicodeDecodeError:
        raise BadParameter("form", "is not UTF-8 text") from None
