"""The address of a database, as operators write it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

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
    """`url` as it may be logged: without a password, and without parameters, which may hold one."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        user = (parts.username or "") + "@" if "@" in parts.netloc else ""
    except ValueError:
        return url.partition(":")[0] + "://…"
    if parts.scheme == "sqlite":
        return url
    return f"{parts.scheme}://{user}{host}{parts.path}"
