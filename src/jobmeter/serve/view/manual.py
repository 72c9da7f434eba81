"""The documentation in the pages of the server: the same for everybody, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter

from msgspec import Struct

from jobmeter.manual.book import Entry, Found, contents, search
from jobmeter.manual.leaf import Leaf, leaf
from jobmeter.manual.tree import CONTENTS, name, named, paths, text, tree
from jobmeter.serve.web.page import NotThere, Visit

KEPT_SECONDS = 600.0
WORDS_MAX = 200

FOLDER = "docs"
"""Where the pages are; their addresses are FOLDER/NAME."""


class Line(Struct, frozen=True):
    """A line of the contents."""

    name: str
    title: str


class Part(Struct, frozen=True):
    """The lines of the contents under one heading."""

    title: str
    lines: tuple[Line, ...]


def shown(visit: Visit, page: str, before: str) -> Leaf:
    """The page of this name; "" is the page of contents. `before` stands before links to others. Raises NotThere."""

    def made() -> Leaf:
        root = tree()
        by_name = named(paths(root))
        path = by_name.get(page) if page else CONTENTS
        if path is None:
            raise NotThere("There is no such page of the documentation.")
        return leaf(path, text(root, path), _addresses(by_name.values(), before).get)

    return visit.kept.ask(("docs", page, before), KEPT_SECONDS, made)


def parts(visit: Visit) -> list[Part]:
    """The contents."""

    def made() -> list[Part]:
        return list(_parts(contents(tree())))

    return visit.kept.ask(("docs contents",), KEPT_SECONDS, made)


def found(words: str) -> list[Found]:
    """Where all these words stand."""
    return search(tree(), words)


def _addresses(files: Iterable[str], before: str) -> dict[str, str]:
    contents_at = FOLDER if before else f"../{FOLDER}"
    return {path: contents_at if path == CONTENTS else f"{before}{name(path)}" for path in files}


def _parts(entries: Iterable[Entry]) -> Iterable[Part]:
    for title, inner in groupby(entries, key=attrgetter("section")):
        yield Part(title, tuple(Line(name(entry.path), entry.title) for entry in inner))
