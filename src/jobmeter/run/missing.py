"""Which extra brings a library that is not installed, by what our own package declares."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires

_DECLARED = re.compile(r"""([\w.-]+).*;\s*extra == ['"]([\w-]+)['"]""")


def sentence(fault: ModuleNotFoundError) -> str | None:
    """What is missing and how to get it; None where no extra of ours brings it."""
    library = (fault.name or "").partition(".")[0]
    try:
        declared = requires("jobmeter") or []
    except PackageNotFoundError:
        return None
    brought: dict[str, set[str]] = {}
    for found in filter(None, map(_DECLARED.match, declared)):
        brought.setdefault(found[2], set()).add(_one_form(found[1]))
    extras = [extra for extra, libraries in brought.items() if _one_form(library) in libraries]
    if not extras:
        return None
    smallest = min(extras, key=lambda extra: len(brought[extra]))
    return f"this needs the library {library}, which is not installed: pip install 'jobmeter[{smallest}]'"


def _one_form(name: str) -> str:
    """Names of modules and of what is installed differ in these letters."""
    return re.sub(r"[-_.]+", "-", name).lower()
