"""Who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from tests.guard.source import Module

COMMON = frozenset({"", "model", "contract", "bookkeeping", "keeping", "wire", "settings", "registry", "peer"})

MAY_IMPORT = {
    "": frozenset(),
    "__main__": frozenset({"run"}),
    "model": frozenset(),
    "contract": frozenset({"model", "bookkeeping"}),
    "bookkeeping": frozenset({"model"}),
    "keeping": frozenset({"model", "contract"}),
    "wire": frozenset({"model"}),
    "settings": frozenset(),
    "registry": frozenset(),
    "peer": frozenset({""}),
    "observe": COMMON,
    "deliver": COMMON,
    "sinks": COMMON,
    "store": COMMON,
    "moving": COMMON,
    "query": COMMON,
    "report": COMMON,
    "client": frozenset({"", "model", "wire", "contract", "query", "deliver"}),
    "manual": frozenset({""}),
    "transport": COMMON | {"deliver"},
    "serve": COMMON | {"query", "report", "manual"},
    "run": None,
}
"""Per room the other rooms it may import; None: all of them. A room that is not listed may not exist."""

LAZY = frozenset({"run", "registry"})
"""Rooms that import modules of ours inside functions: the command line, and the registry by name."""


class Edge(NamedTuple):
    """One import of a module of ours."""

    importer: Module
    target: str
    line: int
    is_lazy: bool


def edges(tree: Sequence[Module]) -> tuple[Edge, ...]:
    """All imports of our own modules."""
    return _edges(tuple(tree))


@cache
def _edges(tree: tuple[Module, ...]) -> tuple[Edge, ...]:
    names = {module.name for module in tree}
    return tuple(edge for module in tree for edge in _of(module, names))


def _of(module: Module, names: set[str]) -> Iterator[Edge]:
    imports = [node for node in module.nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    lazy = {id(node) for function in module.functions() for node in ast.walk(function)} if imports else set()
    for node in imports:
        for target in _targets(node, module, names):
            yield Edge(module, target, getattr(node, "lineno", 0), id(node) in lazy)


def _targets(node: ast.AST, module: Module, names: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "jobmeter")
    elif isinstance(node, ast.ImportFrom):
        start = node.module or ""
        if node.level:
            parents = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
            base = parents[: len(parents) - node.level + 1]
            start = ".".join([*base, *([node.module] if node.module else [])])
        if start.split(".")[0] == "jobmeter":
            for alias in node.names:
                inner = f"{start}.{alias.name}"
                yield inner if inner in names else start


def forbidden(tree: Sequence[Module]) -> list[str]:
    """Imports across rooms that the table does not allow, and rooms that it does not know."""
    found = []
    for module in tree:
        if module.room not in MAY_IMPORT:
            found.append(f"{module.name}: there is no room {module.room!r} in the table of rooms")
    for edge in edges(tree):
        room = Module(edge.target, "").room
        allowed = MAY_IMPORT.get(edge.importer.room, frozenset())
        if room != edge.importer.room and allowed is not None and room not in allowed:
            found.append(f"{edge.importer.name}:{edge.line}: {edge.importer.room or 'jobmeter'} imports {edge.target}")
    return found


def lazy(tree: Sequence[Module]) -> list[str]:
    """Imports of our own modules inside functions, outside the rooms that may."""
    return [
        f"{edge.importer.name}:{edge.line}: imports {edge.target} inside a function"
        for edge in edges(tree)
        if edge.is_lazy and edge.importer.room not in LAZY
    ]


def cycles(tree: Sequence[Module]) -> list[str]:
    """Modules that import themselves by way of others, lazily or not."""
    after: dict[str, set[str]] = {module.name: set() for module in tree}
    for edge in edges(tree):
        after[edge.importer.name].add(edge.target)
    found = []
    for start, targets in after.items():
        seen: set[str] = set()
        ahead = set(targets)
        while ahead:
            name = ahead.pop()
            seen.add(name)
            ahead |= after.get(name, set()) - seen
        if start in seen:
            found.append(f"{start} imports itself by way of others")
    return found
