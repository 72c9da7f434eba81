"""The states that a record no longer has, and what each change changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from jobmeter.model.question import Scope
from jobmeter.model.version import ChangeKind, Version

CHANGES_MAX = 50


class Change(Struct, frozen=True):
    """A place in the record, before and after; None where it was not or is no longer there."""

    place: str
    before: str | None
    after: str | None


class Past(Struct, frozen=True):
    """A change of the record: what it did, who did it, why and when; `at` None where nobody said."""

    number: int
    kind: ChangeKind
    who: str
    why: str
    at: datetime | None
    changes: tuple[Change, ...]


class _Seen(Struct):
    meta: dict[str, tuple[str, ...]] | None = None


_meta_of = msgspec.json.Decoder(_Seen).decode


def visible(versions: Sequence[Version], scope: Scope) -> list[Version]:
    """The versions that the scope sees, oldest first."""
    return [one for one in versions if scope.sees(_meta_of(one.body).meta)]


def past_of(versions: Sequence[Version], body: bytes | None) -> list[Past]:
    """The changes, newest first. `body` is the record as it is now, None: it was withdrawn."""
    if not versions:
        return []
    after = [*(one.body for one in versions[1:]), body]
    found = [
        Past(one.number, one.ended, one.edit.who, one.edit.why, one.edit.at, _changes(one.body, then))
        for one, then in zip(versions, after, strict=True)
    ]
    return found[::-1]


def _changes(before: bytes, after: bytes | None) -> tuple[Change, ...]:
    if after is None:
        return ()
    old, new = (dict(_places("", msgspec.json.decode(body))) for body in (before, after))
    places = [place for place in {**old, **new} if old.get(place) != new.get(place)]
    return tuple(Change(place, old.get(place), new.get(place)) for place in places[:CHANGES_MAX])


def _places(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every leaf of a decoded record with its path; a component goes by its name, a list of words is one leaf."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _places(f"{path}.{name}" if path else str(name), each)
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        for each in value:
            yield from _places(f"{path}.{each.get('name')}", {k: v for k, v in each.items() if k != "name"})
    elif isinstance(value, list):
        if value:
            yield path, ", ".join(map(str, value))
    elif value is not None:
        yield path, str(value)
