"""The documentation in the server's pages."""

from __future__ import annotations

import re

import pytest

from jobmeter.manual.tree import named, paths, tree
from tests.serve.live import Live

HTML = {"accept": "text/html"}


def test_contents_and_pages_lead_to_one_another(server: Live) -> None:
    contents = server.ask("GET", "/docs", headers=HTML)
    assert contents.status == 200
    assert 'href="docs/quick-start"' in contents.body.decode()
    page = server.ask("GET", "/docs/quick-start", headers=HTML).body.decode()
    assert 'href="concepts"' in page
    assert 'href="../docs"' in page
    assert 'aria-current="page">Quick start' in page


def test_every_page_is_served_without_anything_inline(server: Live) -> None:
    for name in named(paths(tree())):
        answer = server.ask("GET", f"/docs/{name}", headers=HTML)
        shown = answer.body.decode()
        assert answer.status == 200, name
        assert "style=" not in shown, name
        assert "<script" not in shown, name
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_words_are_found_and_what_is_asked_for_is_text(server: Live) -> None:
    found = server.ask("GET", "/docs?q=several+processes", headers=HTML).body.decode()
    assert re.search(r'href="docs/operation#several-processes"', found)
    hostile = server.ask("GET", "/docs?q=%3Cimg+src%3Dx%3E", headers=HTML).body.decode()
    assert "<img src=x>" not in hostile
    assert "No page has all these words." in hostile


@pytest.mark.parametrize("path", ["/docs/nothing", "/docs/..%2f..%2fpyproject.toml", "/docs/", "/docs/a/b"])
def test_there_is_nothing_beside_the_pages(server: Live, path: str) -> None:
    assert server.ask("GET", path, headers=HTML).status == 404
