"""YAML into located nodes.

Only the tree of PyYAML's safe composer is used, never its constructors: the type of a plain scalar is decided later by
the option it is for, so that neither `0123` nor `on` nor `1:30` is turned into something that nobody wrote.
"""

from __future__ import annotations

import re
from typing import Any

from jobmeter.settings.fault import Fault, Place, SettingsFaulty
from jobmeter.settings.node import Entry, Mapping, Node, Scalar, Sequence, integer, number

NODES_MAX = 100_000
"""Aliases repeat what they name: this many nodes after repeating are too many (the "billion laughs")."""
DEPTH_MAX = 64

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_CORE = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(
    f"{_CORE}{name}" for name in ("null", "bool", "int", "float", "timestamp", "str", "seq", "map", "merge", "value")
)


def parse(text: str, origin: str) -> Node | None:
    """The document in `text`, or None when it holds nothing. Raises SettingsFaulty, duplicate keys all at once."""
    import yaml  # noqa: PLC0415 - costs 15 ms, and our own files are TOML

    try:
        root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        line = None if mark is None else mark.line + 1
        raise _faulty(Place(origin, line), f"is not valid YAML: {fault.problem or fault.context}") from None
    except yaml.reader.ReaderError as fault:
        line = text.count("\n", 0, fault.position) + 1
        raise _faulty(Place(origin, line), f"holds the character U+{fault.character:04X}") from None
    except RecursionError:
        raise _faulty(Place(origin), "is nested too deeply") from None
    if root is None:
        return None
    reader = _Reader(origin)
    node = reader.node(root, "", 0)
    if reader.faults:
        raise SettingsFaulty(reader.faults)
    return node


def _faulty(place: Place, reason: str) -> SettingsFaulty:
    return SettingsFaulty([Fault(str(place), "", reason)])


class _Reader:
    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.faults: list[Fault] = []
        self.count = 0

    def node(self, node: Any, path: str, depth: int) -> Node:
        place = self._place(node)
        self.count += 1
        if depth > DEPTH_MAX:
            raise _faulty(place, "is nested too deeply, or an alias stands within what it names")
        if self.count > NODES_MAX:
            raise _faulty(place, f"holds more than {NODES_MAX} values, counting what aliases repeat")
        tag = None if node.tag in _PLAIN_TAGS else node.tag.replace(_CORE, "!").lstrip("!") or None
        if node.id == "scalar":
            if tag is not None:
                self._fault(place, path, f"the type !{tag} is not known here")
            return _scalar(node, place)
        if node.id == "sequence":
            if tag is not None:
                self._fault(place, path, f"the type !{tag} is not known here")
            items = (self.node(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value))
            return Sequence(tuple(items), place)
        return Mapping(self._entries(node.value, path, depth), place, tag)

    def _entries(self, pairs: list[tuple[Any, Any]], path: str, depth: int) -> tuple[Entry, ...]:
        entries: dict[str, Entry] = {}
        for key_node, value_node in pairs:
            place = self._place(key_node)
            if key_node.id != "scalar":
                self._fault(place, path, "has a key that is not plain text")
                continue
            key = key_node.value
            inner = f"{path}.{key}" if path else key
            if key in entries:
                self._fault(place, inner, f"stands twice, first in line {entries[key].place.line}")
                continue
            entries[key] = Entry(key, self.node(value_node, inner, depth + 1), place)
        return tuple(entries.values())

    def _place(self, node: Any) -> Place:
        return Place(self.origin, node.start_mark.line + 1)

    def _fault(self, place: Place, key: str, reason: str) -> None:
        self.faults.append(Fault(str(place), key, reason))


def _scalar(node: Any, place: Place) -> Scalar:
    text = node.value
    if node.style is not None or node.tag == f"{_CORE}str":
        return Scalar(text, place, text)
    if text in _NULL:
        return Scalar(None, place, text)
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return Scalar(text[0] in "tT", place, text)
    for reading in (integer(text), number(text)):
        if reading is not None:
            return Scalar(reading, place, text)
    return Scalar(text, place, text)
