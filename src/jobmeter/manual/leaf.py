"""One file of the documentation as HTML. Headings get addresses, links lead to pages, nothing needs a script.

Raw HTML in Markdown is shown as text. A file that is no Markdown is shown as it is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from msgspec import Struct

Address = Callable[[str], str | None]
"""Where the page of a file is, by the file's path in the repository; None: there is none."""

_REMARK = re.compile(r"\A(?:<!--.*?-->\s*)+", re.DOTALL)
_OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class Heading(Struct, frozen=True):
    """A heading: 1 to 6, its address within the page, its words."""

    level: int
    anchor: str
    words: str


class Link(Struct, frozen=True):
    """A link to another file, or to a heading: the line it stands in, the file, the address within it or empty."""

    line: int
    written: str
    path: str
    anchor: str


class Leaf(Struct, frozen=True):
    """A file as a page."""

    path: str
    title: str
    html: str
    headings: tuple[Heading, ...]
    links: tuple[Link, ...]


def anchored(words: str) -> str:
    """The address of a heading within its page, as forges make it."""
    return re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")


def leaf(path: str, text: str, address: Address) -> Leaf:
    """The page of a file. Links to what has no address stay words."""
    if not path.endswith(".md"):
        return Leaf(path, path, f"<h1>{escape(path)}</h1>\n{_code(text)}", (), ())
    markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    tokens = markdown.parse(_without_remark(text))
    headings = tuple(_headings(tokens))
    links = tuple(_links(path, tokens, address))
    _tables(tokens)
    title = next((each.words for each in headings if each.level == 1), path)
    return Leaf(path, title, markdown.renderer.render(tokens, markdown.options, {}), headings, links)


def _without_remark(text: str) -> str:
    """Without the remark at the beginning, but with its lines, so that places stay true."""
    return _REMARK.sub(lambda found: "\n" * found[0].count("\n"), text)


def _headings(tokens: Sequence[Token]) -> Iterator[Heading]:
    """All headings, each told its address, as forges make it of the words."""
    seen: dict[str, int] = {}
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            words = "".join(each.content for each in inline.children or () if each.type in ("text", "code_inline"))
            anchor = anchored(words)
            times = seen[anchor] = seen.get(anchor, -1) + 1
            anchor = f"{anchor}-{times}" if times else anchor
            token.attrSet("id", anchor)
            yield Heading(int(token.tag[1]), anchor, words)


def _links(path: str, tokens: Sequence[Token], address: Address) -> Iterator[Link]:
    """All links that stay among our files; each is led to the page of its file."""
    for inline in tokens:
        for token in inline.children or ():
            written = str(token.attrGet("href") or "") if token.type == "link_open" else ""
            if not written or _OUTSIDE.match(written):
                continue
            target, _, anchor = written.partition("#")
            wanted = posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) if target else path
            place = address(wanted) if target else ""
            if place is None:
                token.attrs.pop("href")
            else:
                token.attrSet("href", f"{place}#{anchor}" if anchor else place)
            yield Link(inline.map[0] + 1 if inline.map else 0, written, wanted, anchor)


def _tables(tokens: Sequence[Token]) -> None:
    """Heads of tables say what they are of; an empty one is no head."""
    for at, token in enumerate(tokens):
        if token.type in ("th_open", "td_open"):
            token.attrs.pop("style", None)
        if token.type == "th_open":
            if tokens[at + 1].content:
                token.attrSet("scope", "col")
            else:
                token.tag = tokens[at + 2].tag = "td"


class _Renderer(RendererHTML):
    """What is wide can be scrolled, by the keyboard as well."""

    def table_open(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        del tokens, at, options, env
        return '<div class="wide" tabindex="0" role="group" aria-label="Table">\n<table>\n'

    def table_close(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        del tokens, at, options, env
        return "</table>\n</div>\n"

    def fence(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        del options, env
        return _code(tokens[at].content)

    def code_block(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        del options, env
        return _code(tokens[at].content)


def _code(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>\n'
