"""The files that the documentation is made of, by their paths in the repository; they are part of the package."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

CONTENTS = "docs/README.md"
"""The page that all others are reached from."""


def tree() -> Traversable:
    """The folder that has `docs`, `packaging`, … as the repository has them."""
    return files("jobmeter.manual") / "tree"


def paths(root: Traversable) -> list[str]:
    """All files of text below a folder: `docs/run.md`, …; sorted."""
    return sorted(_below(root, ""))


def text(root: Traversable, path: str) -> str:
    """One of them. Raises OSError."""
    return root.joinpath(*path.split("/")).read_text(encoding="utf-8")


def name(path: str) -> str:
    """What the page of a file is called in addresses: `docs/collectors/slurm.md` is `collectors-slurm`."""
    if path == CONTENTS:
        return "index"
    return path.removeprefix("docs/").removesuffix(".md").replace("/", "-").lower()


def named(found: list[str]) -> dict[str, str]:
    """The files by the names of their pages. Raises ValueError where two would have one name."""
    by_name: dict[str, str] = {}
    for path in found:
        if (other := by_name.setdefault(name(path), path)) != path:
            raise ValueError(f"{other} and {path} would be one page, {name(path)!r}")
    return by_name


def _below(folder: Traversable, way: str) -> Iterator[str]:
    for item in folder.iterdir():
        if item.name.startswith((".", "__pycache__")) or item.name.endswith(".png"):
            continue  # what installers put beside files of Python, and pictures of README.md
        if item.is_dir():
            yield from _below(item, f"{way}{item.name}/")
        else:
            yield f"{way}{item.name}"
