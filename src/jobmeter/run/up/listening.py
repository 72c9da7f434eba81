"""Where a `jobmeter up` listens, as a person writes it, and how this machine and others reach it."""

from __future__ import annotations

import argparse


def listened(text: str) -> tuple[str, int | None]:
    """An address, and a port where one stands behind it. Raises ArgumentTypeError."""
    host, port = text, ""
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        host, port = (host if closed else ""), port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and int(port) <= 65535)):
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS or ADDRESS:PORT")
    return host, int(port) if port else None


def reached(address: str) -> str:
    """How this machine reaches what listens there."""
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def for_others(host: str, port: int, *, asked: bool, encrypted: bool) -> str:
    """What a person must know who lets others in: `asked`, whether they must show a token."""
    terms = "with a token" if asked else "and anybody may read and write"
    place = f"{'https' if encrypted else 'http'}://{host}:{port}"
    if encrypted:
        return f"Others reach it at {place}, {terms}. More tokens: docs/security.md"
    return f"Others reach it at {place}, {terms}; nothing is encrypted. For TLS and more tokens: docs/security.md"
