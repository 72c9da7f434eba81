"""The way in: a file and the environment become settings, or all their faults are told at once."""

from __future__ import annotations

from collections.abc import Mapping as Variables
from pathlib import Path
from typing import Generic, TypeVar

from msgspec import Struct

from jobmeter.settings import toml_file, yaml_file
from jobmeter.settings.bind import Binder
from jobmeter.settings.environment import overlay, overrides
from jobmeter.settings.fault import Fault, Place, SettingsFaulty
from jobmeter.settings.node import Mapping

S = TypeVar("S", bound=Struct)

SIZE_MAX_BYTES = 1 << 20
_YAML = frozenset({".yml", ".yaml"})


class Loaded(Struct, Generic[S], frozen=True):
    """Settings that can be used; `notes` are sentences about what was there and has no effect."""

    settings: S
    notes: tuple[str, ...]


def load(kind: type[S], *, file: Path | None, environment: Variables[str, str], prefix: str | None) -> Loaded[S]:
    """The settings of `file`, overridden by the variables `PREFIX_KEY__INNER_KEY` of `environment`.

    A name ending in .yml or .yaml is read as YAML, any other as TOML. Without a file the defaults and the environment
    count; without a prefix the environment does not. Raises SettingsFaulty with every fault found.
    """
    root = Mapping((), Place("settings")) if file is None else read(file)
    return bind(kind, root, environment, prefix)


def bind(kind: type[S], root: Mapping, environment: Variables[str, str], prefix: str | None) -> Loaded[S]:
    """As `load`, from a tree that `read` gave."""
    notes: list[str] = []
    if prefix is not None:
        found, notes = overrides(kind, environment, prefix)
        root = overlay(root, found)
    binder = Binder()
    settings = binder.bind(kind, root)
    if binder.faults:
        raise SettingsFaulty(sorted(binder.faults, key=_by_place))
    return Loaded(settings, (*binder.notes, *notes))


def read(file: Path) -> Mapping:
    """The tree of a settings file. Raises SettingsFaulty when it cannot be read or is empty.

    A file of nothing but comments is a table without keys: all defaults, as in a fresh sample.
    """
    origin = str(file)
    text = _text(file, origin)
    if not text or text.isspace():
        raise _faulty(origin, "is empty")
    node = (yaml_file if file.suffix.lower() in _YAML else toml_file).parse(text, origin)
    if node is None:
        return Mapping((), Place(origin))
    if not isinstance(node, Mapping):
        raise _faulty(origin, "is not a table of keys with values")
    return node


def _text(file: Path, origin: str) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        raise _faulty(origin, "there is no such file") from None
    except IsADirectoryError:
        raise _faulty(origin, "is a directory, not a file") from None
    except OSError as fault:
        raise _faulty(origin, f"cannot be read: {fault.strerror or fault}") from None
    if len(content) > SIZE_MAX_BYTES:
        raise _faulty(origin, f"is larger than {SIZE_MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise _faulty(f"{origin}:{line}", f"is not UTF-8 text (byte {fault.start})") from None


def _faulty(place: str, reason: str) -> SettingsFaulty:
    return SettingsFaulty([Fault(place, "", reason)])


def _by_place(fault: Fault) -> tuple[str, int]:
    origin, _, line = fault.place.rpartition(":")
    return (origin, int(line)) if line.isdecimal() else (fault.place, 0)
