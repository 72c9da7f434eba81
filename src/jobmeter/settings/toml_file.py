"""TOML into located nodes: the standard library reads the values, a small scanner finds their lines."""

from __future__ import annotations

import re
from typing import Any

from jobmeter.settings.fault import Fault, Place, SettingsFaulty
from jobmeter.settings.node import Entry, Mapping, Node, Scalar, Sequence

Path = tuple[str | int, ...]

_AT = re.compile(r"(?P<reason>.*?) \(at (?:line (?P<line>\d+), column \d+|end of document)\)", re.DOTALL)
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*(?:(?P<bare>[A-Za-z0-9_-]+)|(?P<string>"(?:[^"\\]|\\.)*"|'[^']*'))[ \t]*(?P<dot>\.)?""")
_STRING = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""(?:""?(?!"))?|\'\'\'.*?\'\'\'(?:''?(?!'))?|"(?:[^"\\]|\\.)*"|'[^']*\'''', re.DOTALL
)
_BARE = re.compile(r"[^,\]}\n#]*")


def parse(text: str, origin: str) -> Node | None:
    """The document in `text`, or None when it holds nothing. Raises SettingsFaulty at the first fault of syntax."""
    import tomllib  # noqa: PLC0415 - costs 3 ms, and the files of the superseded tools are YAML

    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        match = _AT.fullmatch(str(fault))
        reason = match["reason"] if match else str(fault)
        line = int(match["line"]) if match and match["line"] else text.count("\n") + 1
        raise _faulty(Place(origin, line), f"is not valid TOML: {reason[:1].lower()}{reason[1:]}") from None
    except RecursionError:
        raise _faulty(Place(origin), "is nested too deeply") from None
    if not values:
        return None
    return _node(values, (), Lines(text).found, Place(origin, 1))


def _text_of(string: str) -> Any:
    import tomllib  # noqa: PLC0415 - as above

    return tomllib.loads(f"x = {string}")["x"]


def _faulty(place: Place, reason: str) -> SettingsFaulty:
    return SettingsFaulty([Fault(str(place), "", reason)])


def _node(value: Any, path: Path, lines: dict[Path, int], outer: Place) -> Node:
    place = Place(outer.origin, lines.get(path, outer.line))
    if isinstance(value, dict):
        entries = []
        for key, item in value.items():
            node = _node(item, (*path, key), lines, place)
            entries.append(Entry(key, node, node.place))
        return Mapping(tuple(entries), place)
    if isinstance(value, list):
        return Sequence(tuple(_node(item, (*path, index), lines, place) for index, item in enumerate(value)), place)
    return Scalar(value, place, value if isinstance(value, str) else None)


class Lines:
    """Where each key and list element of a TOML document begins: `found` maps its path to its line, from 1.

    The document has been accepted by `tomllib` before, so the scanner trusts its form.
    """

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line = 1
        self._line_at = 0
        self.found: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}
        self._scan()

    def _scan(self) -> None:
        table: Path = ()
        self._skip()
        while self._at < len(self._text):
            if self._text.startswith("[[", self._at):
                table = self._header(2)
                self._tables[table] = self._tables.get(table, -1) + 1
                self._note(table)
                table = (*table, self._tables[table])
                self._note(table)
            elif self._text[self._at] == "[":
                table = self._header(1)
                self._note(table)
            else:
                self._pair(table)
            self._skip()

    def _header(self, brackets: int) -> Path:
        """The table that a header names, with the number of the last element wherever it runs through a list."""
        self._at += brackets
        names = self._key()
        self._at += brackets
        path: Path = ()
        for index, name in enumerate(names):
            path = (*path, name)
            if path in self._tables and (index < len(names) - 1 or brackets == 1):
                path = (*path, self._tables[path])
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for part in self._key():
            path = (*path, part)
            self._note(path)
        self._at += 1
        self._value(path)

    def _key(self) -> list[str]:
        parts = []
        while match := _KEY.match(self._text, self._at):
            self._at = match.end()
            string = match["string"]
            parts.append(match["bare"] if string is None else _text_of(string))
            if match["dot"] is None:
                break
        return parts

    def _value(self, path: Path) -> None:
        self._skip()
        first = self._text[self._at]
        if first == "[":
            self._list(path)
        elif first == "{":
            self._inline(path)
        else:
            pattern = _STRING if first in "\"'" else _BARE
            match = pattern.match(self._text, self._at)
            self._at = len(self._text) if match is None else match.end()

    def _list(self, path: Path) -> None:
        self._at += 1
        index = 0
        while self._more("]"):
            self._note((*path, index))
            self._value((*path, index))
            index += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        while self._more("}"):
            self._pair(path)

    def _more(self, end: str) -> bool:
        self._skip()
        while self._text.startswith(",", self._at):
            self._at += 1
            self._skip()
        if not self._text.startswith(end, self._at):
            return self._at < len(self._text)
        self._at += 1
        return False

    def _skip(self) -> None:
        match = _BLANK.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _note(self, path: Path) -> None:
        self._line += self._text.count("\n", self._line_at, self._at)
        self._line_at = self._at
        self.found.setdefault(path, self._line)
