"""Environment variables over a settings file: `PREFIX_A__B` sets `a.b`."""

from __future__ import annotations

from collections.abc import Mapping as Variables
from typing import NamedTuple

from msgspec import inspect

from jobmeter.settings.declared import unwrapped
from jobmeter.settings.fault import Place
from jobmeter.settings.node import Entry, Mapping, Node, Scalar


class Override(NamedTuple):
    """One variable: the declared path that it sets, and its text."""

    path: tuple[str, ...]
    value: Scalar


def overrides(kind: type, environment: Variables[str, str], prefix: str) -> tuple[list[Override], list[str]]:
    """What the variables under `prefix` set, and a note for each that sets nothing.

    Names match declared fields in any case. A variable of someone else under our prefix (a container platform makes
    AUDITOR_SERVICE_HOST for a service called auditor) must never prevent a start, so it is a note and not a fault.
    """
    head = f"{prefix.rstrip('_')}_"
    names = sorted(name for name in environment if name.startswith(head))
    if not names:
        return [], []  # looking at the declaration costs 2 ms
    declared = inspect.type_info(kind)
    found: list[Override] = []
    notes: list[str] = []
    for name in names:
        path = _path(declared, name[len(head) :].split("__"))
        if path is None:
            notes.append(f"environment variable {name}: no setting has this name, it has no effect")
            continue
        text = environment[name]
        found.append(Override(path, Scalar(text, Place(f"environment variable {name}"), text, listed=True)))
    return found, notes


def overlay(root: Mapping, found: list[Override]) -> Mapping:
    """The tree with the overrides put in, later ones winning."""
    for override in found:
        root = _put(root, override.path, override.value)
    return root


def _path(declared: inspect.Type, parts: list[str]) -> tuple[str, ...] | None:
    declared = unwrapped(declared)
    if not parts:
        return None if isinstance(declared, inspect.StructType | inspect.DictType) else ()
    if isinstance(declared, inspect.DictType):
        rest = _path(declared.value_type, parts[1:])
        return None if rest is None else (parts[0], *rest)
    if isinstance(declared, inspect.StructType):
        for field in declared.fields:
            if field.encode_name.lower() == parts[0].lower():
                rest = _path(field.type, parts[1:])
                return None if rest is None else (field.encode_name, *rest)
    return None


def _put(node: Mapping, path: tuple[str, ...], value: Scalar) -> Mapping:
    key, rest = path[0], path[1:]
    entry = node.find(key)
    inner: Node = value
    if rest:
        inside = entry.value if entry is not None else None
        inner = _put(inside if isinstance(inside, Mapping) else Mapping((), value.place), rest, value)
    others = tuple(each for each in node.entries if each.key != key)
    return Mapping((*others, Entry(key, inner, value.place)), node.place, node.tag)
