"""All pages together: the contents, what is wrong with them, and where words are found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources.abc import Traversable

from msgspec import Struct

from jobmeter.manual.leaf import Leaf, anchored, leaf
from jobmeter.manual.tree import CONTENTS, name, named, paths, text

FOUND_MAX = 40
_AROUND = 90
_LOOKED_UP = ("docs/reference/", "docs/decisions/", "CHANGELOG", "CONTRIBUTING")
"""Pages that are found behind the guides."""
_RULE = re.compile(r"^\|[-| :]+\|$")
_HEADING = re.compile(r"^(#{1,6}) +(.+?)\s*$")
_ENTRY = re.compile(r"^- \[([^]]+)\]\(([^)#]+\.md)\)")
_MARKUP = re.compile(r"\]\([^)]*\)|[`*\[\]]")


class Entry(Struct, frozen=True):
    """A line of the contents: what it is called, the file, and the heading that it stands under."""

    title: str
    path: str
    section: str


class Place(Struct, frozen=True):
    """A heading of a file, and the text below it without marks. At the top, heading and address are empty."""

    path: str
    title: str
    heading: str
    anchor: str
    text: str


class Found(Struct, frozen=True):
    """A place where all words stand: page, heading with its address (both empty at the top), some of the text there."""

    name: str
    title: str
    heading: str
    anchor: str
    words: str


def contents(root: Traversable) -> list[Entry]:
    """The pages in the order in which the page of contents lists them."""
    section, found = "", []
    for line in text(root, CONTENTS).splitlines():
        if heading := _HEADING.match(line):
            section = heading[2]
        elif entry := _ENTRY.match(line):
            path = f"docs/{entry[2]}" if not entry[2].startswith("../") else entry[2][3:]
            found.append(Entry(entry[1], path, section))
    return found


def leaves(root: Traversable, addresses: Mapping[str, str]) -> Iterator[Leaf]:
    """The pages of `addresses`: file to where its page is."""
    for path in addresses:
        yield leaf(path, text(root, path), addresses.get)


def faults(root: Traversable) -> list[str]:
    """What is wrong, each with its place: a link without a target, a page that the contents do not list."""
    addresses = {path: shown for shown, path in named(paths(root)).items()}
    read = {each.path: each for each in leaves(root, addresses) if each.path.endswith(".md")}
    told = [*_broken(read, addresses)]
    listed = {CONTENTS, *(each.path for each in contents(root))}
    told += [f"{path}: {CONTENTS} does not list this page" for path in read if path not in _reached(listed, read)]
    told += [f"{path}: needs one heading of the first level" for path, each in read.items() if _firsts(each) != 1]
    return told


def search(root: Traversable, words: str) -> list[Found]:
    """The places that have all these words, those that have them in their heading first; at most FOUND_MAX."""
    wanted = words.casefold().split()
    if not wanted:
        return []
    weighed = []
    for place in places(root):
        above = f"{place.title} {place.heading}".casefold()
        said = f"{above} {place.text.casefold()}"
        if all(word in said for word in wanted):
            looked_up = place.path.startswith(_LOOKED_UP)
            weight = (-sum(word in above for word in wanted), looked_up, -sum(said.count(word) for word in wanted))
            weighed.append((weight, place))
    weighed.sort(key=lambda one: one[0])
    return [_found(place, wanted) for _, place in weighed[:FOUND_MAX]]


def places(root: Traversable) -> Iterator[Place]:
    """Every heading of every page, the guides first."""
    for path in sorted(paths(root), key=lambda each: each.startswith(_LOOKED_UP)):
        if path.endswith(".md"):
            yield from _places(path, text(root, path))


def _found(place: Place, wanted: list[str]) -> Found:
    return Found(name(place.path), place.title, place.heading, place.anchor, _around(place.text, wanted))


def _broken(read: Mapping[str, Leaf], addresses: Mapping[str, str]) -> Iterator[str]:
    anchors = {path: {heading.anchor for heading in each.headings} for path, each in read.items()}
    for path, each in read.items():
        for link in each.links:
            place = f"{path}:{link.line}: {link.written}"
            if link.path not in addresses:
                yield f"{place}: there is no such file"
            elif link.anchor and link.anchor not in anchors.get(link.path, ()):
                yield f"{place}: {link.path} has no such heading"


def _reached(listed: Iterable[str], read: Mapping[str, Leaf]) -> set[str]:
    """The pages that the contents list, and those that listed pages of theirs lead to."""
    return {*listed, *(link.path for path in listed if path in read for link in read[path].links)}


def _firsts(page: Leaf) -> int:
    return sum(heading.level == 1 for heading in page.headings)


def _places(path: str, body: str) -> Iterator[Place]:
    title = heading = ""
    lines: list[str] = []
    fenced = False
    for line in [*body.splitlines(), "# end"]:
        fenced ^= line.startswith("```")
        match = None if fenced else _HEADING.match(line)
        if match is None:
            lines.append(line)
            continue
        if title:
            yield Place(path, title, heading, anchored(heading), _plain(lines))
        lines = []
        words = _MARKUP.sub("", match[2])
        title, heading = (title or words), (words if title else "")


def _plain(lines: list[str]) -> str:
    kept = (line for line in lines if not _RULE.match(line))
    return " ".join(_MARKUP.sub("", " ".join(kept)).replace("|", " ").split())


def _around(body: str, wanted: list[str]) -> str:
    """Some of the text, from a little before the first of the words."""
    places = [at for word in wanted if (at := body.casefold().find(word)) >= 0]
    start = max(0, min(places, default=0) - _AROUND)
    piece = body[start : start + 3 * _AROUND]
    return f"{'…' if start else ''}{piece}{'…' if start + len(piece) < len(body) else ''}"
