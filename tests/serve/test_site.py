"""The frame of the pages: who sees what, what browsers are told, forms, assets, and addresses with nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobmeter.contract import StoreUnavailable
from jobmeter.model.access import Asker, Grant, Role
from jobmeter.serve.asker import KEY
from jobmeter.serve.meter import Meter
from jobmeter.serve.parameters import BadParameter
from jobmeter.serve.reads import Readers
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.web.assets import Assets
from jobmeter.serve.web.guard import foreign_form
from jobmeter.serve.web.kept import Kept
from jobmeter.serve.web.page import NotThere, Page, Stores, Values, Visit, administrators
from jobmeter.serve.web.paper import Paper, Where
from jobmeter.serve.web.site import Site, pages_found
from tests.serve.live import FixedClock, Live, live
from tests.serve.memory import MemoryStore

HTML = {"accept": "text/html"}
PAGES = sorted((Path(__file__).parents[2] / "src/jobmeter/serve/pages").glob("[a-z]*.py"))


def test_every_file_in_the_place_for_pages_is_one_and_has_a_template() -> None:
    found = pages_found()
    assert len(found) == len(PAGES) > 1
    assert len({page.path for page in found}) == len(found)
    for page in found:
        assert (PAGES[0].parent / "templates" / page.template).is_file()
        assert page.path.startswith("/")


def test_pages_in_the_navigation_have_places_of_their_own() -> None:
    places = [page.place for page in pages_found() if page.place is not None]
    assert len(set(places)) == len(places)


def test_a_page_tells_browsers_to_run_nothing_from_elsewhere_and_nothing_inline(server: Live) -> None:
    answer = server.ask("GET", "/about", headers=HTML)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    shown = answer.body.decode()
    assert "/v2/dead-letters" in shown
    assert "style=" not in shown
    assert "onclick=" not in shown
    assert shown.count("<script") == 0


def test_an_asset_is_kept_for_ever_and_known_by_its_tag(server: Live) -> None:
    page = server.ask("GET", "/about", headers=HTML).body.decode()
    path = page.partition('rel="stylesheet" href=".')[2].partition('"')[0]
    answer = server.ask("GET", path, headers={})
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    again = server.ask("GET", path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    packed = server.ask("GET", path, headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(answer.body)


def test_what_nothing_is_at_gets_a_page_in_a_browser_and_a_line_elsewhere(server: Live) -> None:
    shown = server.ask("GET", "/nothing/here", headers=HTML)
    assert shown.status == 404
    assert b"There is no page at this address." in shown.body
    assert b'href="../about"' in shown.body
    line = server.ask("GET", "/nothing/here")
    assert (line.status, line.body) == (404, b"The requested resource was not found. 404 Not Found")


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/assets/../../../etc/passwd",
        "/assets/%2e%2e%2fsite.py",
        "/about/",
        "/about%00",
        "/%0d%0aset-cookie:x=1",
        "/\\evil.example",
    ],
)
def test_odd_paths_lead_nowhere(server: Live, path: str) -> None:
    answer = server.ask("GET", path, headers=HTML)
    assert answer.status in (400, 404)
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert b"evil.example" not in answer.body


def test_a_parameter_that_is_unknown_is_told_and_escaped(server: Live) -> None:
    answer = server.ask("GET", "/about?%3Cscript%3Ealert(1)%3C/script%3E=1", headers=HTML)
    assert answer.status == 400
    assert b"<script>alert" not in answer.body
    assert b"&lt;script&gt;alert" in answer.body


def test_a_page_that_may_not_be_seen_is_not_in_the_navigation() -> None:
    closed = Page("/closed", "Closed", "fault.html", lambda _: {}, sees=administrators, place=1)
    open_ = Page("/open", "Open", "fault.html", lambda _: {}, place=2)
    paper = Paper([closed, open_], Assets())
    reader = Asker("r", (Grant(frozenset({Role.READ})),))
    shown = paper.printed("fault.html", Where(reader, b"/open", open_), {"sentence": "x"}).decode()
    assert "Closed" not in shown
    assert 'aria-current="page">Open' in shown
    assert "Closed" in paper.printed("fault.html", Where(Asker.anyone(), b"/"), {"sentence": "x"}).decode()


@pytest.mark.parametrize(
    ("said", "is_ours"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "http://h:1"}, True),
        ({"origin": "http://h:1"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site", "origin": "http://h:1"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://evil"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://evil"}, False),
        ({"origin": "http://h:2"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({}, False),
    ],
)
def test_only_forms_of_this_server_are_believed(said: Mapping[str, str], is_ours: bool) -> None:
    headers = [(b"host", b"h:1"), *((name.encode(), value.encode()) for name, value in said.items())]
    assert (foreign_form({"headers": headers}) is None) is is_ours


def test_an_answer_is_kept_for_its_seconds_and_a_fault_is_not() -> None:
    now = [0.0]
    asked: list[int] = []

    def question() -> int:
        asked.append(1)
        if len(asked) == 1:
            raise StoreUnavailable("away")
        now[0] += 1
        return len(asked)

    kept = Kept(lambda: now[0])
    with pytest.raises(StoreUnavailable):
        kept.ask("k", 5, question)
    assert kept.ask("k", 5, question) == 2
    now[0] = 6.0
    assert kept.ask("k", 5, question) == 2
    now[0] = 6.1
    assert kept.ask("k", 5, question) == 3
    assert kept.ask("other", 5, lambda: None) is None


def test_an_answer_that_came_quickly_is_not_kept_for_long() -> None:
    now = [0.0]

    def question() -> float:
        now[0] += 0.001
        return now[0]

    kept = Kept(lambda: now[0])
    first = kept.ask("k", 30, question)
    now[0] = 0.15
    assert kept.ask("k", 30, question) == first
    now[0] = 0.25
    assert kept.ask("k", 30, question) > first


class Stage:
    """A site of one page, asked without a server."""

    def __init__(self, page: Page, asker: Asker | None = None) -> None:
        self._readers = Readers()
        stores = Stores(MemoryStore(), None, None, None, Meter())
        self._site = Site(stores, self._readers, FixedClock(), [page])
        self._page = page
        self._asker = Asker.anyone() if asker is None else asker

    def ask(
        self, raw_path: bytes, form: bytes | None = None, headers: Mapping[bytes, bytes] | None = None
    ) -> tuple[int, dict[bytes, bytes], str]:
        said = {b"host": b"h"} if headers is None else headers
        scope = {
            "raw_path": raw_path,
            "path": "/",
            "query_string": b"",
            "headers": list(said.items()),
            KEY: self._asker,
        }
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": form or b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        endpoint = self._site.shown(self._page) if form is None else self._site.acted(self._page)
        status = asyncio.run(endpoint(scope, receive, send))
        return status, dict(sent[0]["headers"]), sent[1]["body"].decode()


def _raises(fault: Exception) -> Callable[[Visit], Values]:
    def show(visit: Visit) -> Values:
        raise fault

    return show


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (StoreUnavailable("the <database> is away"), 503),
        (NotThere("no <node>"), 404),
        (BadParameter("<x>", "odd"), 400),
    ],
)
def test_a_fault_gets_a_page_that_says_which_and_is_escaped(fault: Exception, status: int) -> None:
    found, headers, body = Stage(Page("/p", "P", "fault.html", _raises(fault))).ask(b"/p")
    assert found == status
    assert (b"retry-after" in headers) is (status == 503)
    assert "&lt;" in body
    assert "<node>" not in body


def test_the_last_segment_is_taken_as_a_whole_and_is_no_markup() -> None:
    page = Page("/p/{x}", "P", "fault.html", lambda visit: {"sentence": visit.named})
    status, _, body = Stage(page).ask(b"/p/%3Cb%3E%2Fa%22")
    assert status == 200
    assert "&lt;b&gt;/a&#34;" in body
    assert 'href="../about"' in body
    assert Stage(page).ask(b"/p/%ff")[0] == 404


def test_a_page_of_those_who_may_more_is_refused() -> None:
    page = Page("/p", "P", "fault.html", lambda _: {"sentence": "secret"}, sees=administrators)
    status, _, body = Stage(page, Asker("r", (Grant(frozenset({Role.READ})),))).ask(b"/p")
    assert status == 403
    assert "secret" not in body


def _acting(done: list[Mapping[str, str]]) -> Page:
    def act(visit: Visit, fields: Mapping[str, str]) -> str:
        del visit
        done.append(fields)
        return "/p"

    return Page("/p", "P", "fault.html", lambda _: {}, act=act)


def test_a_form_is_done_once_and_goes_on_to_a_page_of_ours() -> None:
    done: list[Mapping[str, str]] = []
    ours = {b"host": b"h", b"origin": b"http://h", b"sec-fetch-site": b"same-origin"}
    status, headers, _ = Stage(_acting(done)).ask(b"/p", b"a=1&b=%3Cx%3E", ours)
    assert (status, headers[b"location"]) == (303, b"./p")
    assert done == [{"a": "1", "b": "<x>"}]


def test_a_form_of_another_site_does_nothing() -> None:
    done: list[Mapping[str, str]] = []
    status, _, body = Stage(_acting(done)).ask(b"/p", b"a=1", {b"host": b"h", b"origin": b"http://evil"})
    assert status == 403
    assert "Nothing was done" in body
    assert done == []


def test_a_form_that_is_too_large_does_nothing() -> None:
    done: list[Mapping[str, str]] = []
    ours = {b"host": b"h", b"origin": b"http://h"}
    assert Stage(_acting(done)).ask(b"/p", b"a=" + b"1" * 70_000, ours)[0] == 400
    assert Stage(_acting(done)).ask(b"/p", b"a=\xff", ours)[0] == 400
    assert done == []


def test_who_is_not_known_gets_a_page_without_any_link_to_others() -> None:
    settings = msgspec.convert({"access": {"required": True}}, ServeSettings)
    with live(MemoryStore(), settings) as server:
        answer = server.ask("GET", "/", headers=HTML)
        assert answer.status == 401
        assert "Basic" in answer.headers["www-authenticate"]
        assert b"Say who you are" in answer.body
        assert b"aria-current" not in answer.body
        assert b"<nav" in answer.body
        assert b"<li>" not in answer.body
