"""Which plugins there are: a module in the kind's folder, or an entry point of another package.

A plugin's presence is its registration. Nothing is imported before `module` is asked for it by name.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Protocol

KINDS = ("observe.batch", "observe.kernel", "observe.facility", "sinks", "sinks.samples")
"""The kinds of plugins: each is a package under `jobmeter` and an entry-point group `jobmeter.<kind>`."""


class UnknownPlugin(LookupError):  # noqa: N818 - the name says the fact
    """No plugin of this kind has this name; the message lists those that there are."""


class _Point(Protocol):
    name: str

    def load(self) -> object: ...


def names(kind: str) -> tuple[str, ...]:
    """The names of the plugins of a kind, sorted, as written in commands and settings (`slurm-epilog`)."""
    return tuple(sorted({*_own(kind), *(point.name for point in _points(kind))}))


def module(kind: str, name: str) -> ModuleType:
    """The plugin's module, imported now. A plugin of our own wins over an entry point of the same name.

    Raises UnknownPlugin; what the import itself raises comes through.
    """
    if name.replace("_", "-") in _own(kind):
        return importlib.import_module(f"jobmeter.{kind}.{name.replace('-', '_')}")
    for point in _points(kind):
        if point.name == name:
            loaded = point.load()
            if isinstance(loaded, ModuleType):
                return loaded
            raise UnknownPlugin(f"the entry point {name} of jobmeter.{kind} does not name a module")
    raise UnknownPlugin(f"there is no {kind} plugin {name!r}; there is: {', '.join(names(kind)) or 'none'}")


def modules_in(package: str) -> dict[str, str]:
    """The modules that lie directly in a package of ours, name to source text; also inside a zip archive."""
    from importlib.resources import files  # noqa: PLC0415 - costs 10 ms, and not every command needs it

    folder = files(package)
    return {
        item.name.removesuffix(".py"): item.read_text(encoding="utf-8")
        for item in folder.iterdir()
        if item.name.endswith(".py") and not item.name.startswith("_")
    }


def loaded_from(package: str) -> list[ModuleType]:
    """Every module that lies directly in a package of ours, imported, in the order of their names."""
    return [importlib.import_module(f"{package}.{name}") for name in sorted(modules_in(package))]


def _own(kind: str) -> set[str]:
    if kind not in KINDS:
        raise UnknownPlugin(f"there is no kind of plugin {kind!r}; there is: {', '.join(KINDS)}")
    return {name.replace("_", "-") for name in _modules(kind)}


def _modules(kind: str) -> set[str]:
    folder = os.path.join(os.path.dirname(__file__), *kind.split("."))  # noqa: PTH118, PTH120 - pathlib costs 10 ms
    if not os.path.isdir(folder):  # noqa: PTH112 - inside a zip archive
        return set(modules_in(f"jobmeter.{kind}"))
    entries = (entry.name for entry in os.scandir(folder))
    return {name.removesuffix(".py") for name in entries if name.endswith(".py") and not name.startswith("_")}


def _points(kind: str) -> list[_Point]:
    group = f"jobmeter.{kind}"
    if not _may_have_points(f"[{group}]".encode()):
        return []
    from importlib.metadata import entry_points  # noqa: PLC0415 - costs 20 ms and 3 MB

    return list(entry_points(group=group))


def _may_have_points(heading: bytes) -> bool:
    """Whether a package that is installed may have entry points under this heading, told without importing much."""
    return any(_is_in(place, heading) for place in sys.path)


def _is_in(place: str, heading: bytes) -> bool:
    """As above, of one place where packages lie. What is no folder, such as an archive, may have them."""
    try:
        with os.scandir(place or ".") as entries:
            folders = [entry.path for entry in entries if entry.name.endswith((".dist-info", ".egg-info", ".egg"))]
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return any(folder.endswith(".egg") or _says(f"{folder}/entry_points.txt", heading) for folder in folders)


def _says(file: str, heading: bytes) -> bool:
    try:
        with open(file, "rb") as stream:  # noqa: PTH123 - pathlib costs 10 ms
            return heading in stream.read().replace(b" ", b"")
    except OSError:
        return False
