"""The address of a database, as operators write it."""

from __future__ import annotations

from pathlib import Path

from jobmeter.store.fault import DatabaseUrlFaulty

_SQLITE = "sqlite:///"


def sqlite_path(url: str) -> Path | None:
    """The file that a `sqlite:///PATH` names, or None for a `postgresql://` address. Raises DatabaseUrlFaulty."""
    if url.startswith(_SQLITE):
        path = url.removeprefix(_SQLITE)
        if not path or path.startswith(":") or "\0" in path:
            raise DatabaseUrlFaulty(f"{url!r} names no file: write sqlite:///PATH")
        return Path(path)
    if url.startswith(("postgresql://", "postgres://")):
        return None
    raise DatabaseUrlFaulty(f"{shown(url)!r} is neither sqlite:///PATH nor postgresql://USER@HOST/DATABASE")


def shown(url: str) -> str:
    """`url` as it may be logged: without user, password and parameters, whatever is wrong with it."""
    if url.startswith(_SQLITE):
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
