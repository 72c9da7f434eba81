"""CURVE keys: how nodes and gatherers know and understand each other, and nobody else does.

Each side has a key file that only its owner can read: two lines, `public = …` and `secret = …`, in ZeroMQ's Z85 form.
The public half is passed on in a file of its own. A gatherer lets in the nodes whose public files are in a folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import zmq
from msgspec import Struct

_LINE = re.compile(r"(public|secret)\s*=\s*(\S{40})", re.ASCII)


class KeysUnusable(Exception):  # noqa: N818 - the name says the fact
    """A key file is missing, is open to others, or holds no keys; the message names it."""


class Keys(Struct, frozen=True):
    """One side's keys; `secret` is empty where only the public half is known."""

    public: str
    secret: str = ""


def make_keys(file: Path) -> Path:
    """Make a key pair, secret and public, and give the file of the public half. Raises FileExistsError and OSError."""
    public, secret = zmq.curve_keypair()
    shared = file.with_name(file.name + ".public")
    if shared.exists():
        raise FileExistsError(17, "exists already", str(shared))
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
        stream.write(f"public = {public.decode()}\nsecret = {secret.decode()}\n")
    shared.write_text(f"public = {public.decode()}\n", encoding="ascii")
    return shared


def read_keys(file: Path, *, with_secret: bool) -> Keys:
    """The keys of a file. Raises KeysUnusable."""
    try:
        text = file.read_text(encoding="ascii")
        mode = file.stat().st_mode
    except (OSError, UnicodeDecodeError) as fault:
        raise KeysUnusable(f"{file}: {getattr(fault, 'strerror', None) or fault}") from None
    found = {match[1]: match[2] for match in _LINE.finditer(text)}
    if "public" not in found or (with_secret and "secret" not in found):
        raise KeysUnusable(f"{file}: holds no {'key pair' if with_secret else 'public key'}; make one with --make-keys")
    if with_secret and mode & 0o077:
        raise KeysUnusable(f"{file}: others may read the secret in it; chmod 600 mends that")
    return Keys(found["public"], found["secret"] if with_secret else "")


def read_public_keys(folder: Path) -> list[bytes]:
    """The public keys of all files `*.public` of a folder. Raises KeysUnusable when there is none."""
    files = sorted(folder.glob("*.public"))
    if not files:
        raise KeysUnusable(f"{folder}: there is no file *.public in it, so no node could send anything")
    return [read_keys(file, with_secret=False).public.encode() for file in files]


def as_server(socket: zmq.Socket[bytes], keys: Keys) -> None:
    """Let the socket speak to those only who use CURVE with this public key."""
    socket.curve_server = True
    socket.curve_publickey = keys.public.encode()
    socket.curve_secretkey = keys.secret.encode()


def as_client(socket: zmq.Socket[bytes], keys: Keys, server: Keys) -> None:
    """Let the socket speak to that server only."""
    socket.curve_serverkey = server.public.encode()
    socket.curve_publickey = keys.public.encode()
    socket.curve_secretkey = keys.secret.encode()
