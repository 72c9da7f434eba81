"""From what a section observed to what may leave the machine: cluster, selection of users, pseudonyms."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Mapping
from typing import Any

from msgspec import Struct

from jobmeter.model.document import Document, JsonValue

_COUNT = "_user_count"


class Shape(Struct, frozen=True):
    """What is done with every document. None leaves users or hosts as they are.

    `servers` renames the host in the source of a mount, too (`nfs7.example.org:/home`).
    """

    cluster: str
    members: Container[str] | None = None
    user: Callable[[str], str] | None = None
    host: Callable[[str], str] | None = None
    servers: bool = True

    def shaped(self, document: Document) -> Document | None:
        """The document as it is sent, or None when it tells of somebody who is left out."""
        body: dict[str, JsonValue] = dict(document.body)
        users = body.get("users")
        if isinstance(users, str):
            if not self._kept(users):
                return None
            body["users"] = self._named(users)
        elif isinstance(users, list | tuple):
            kept = [self._named(user) for user in users if self._kept(user)]
            body["users"] = kept
            body.update((key, len(kept)) for key in body if key.endswith(_COUNT))
        self._rename_hosts(body)
        identity = None if document.identity is None else _digest(document.identity)
        return Document(document.kind, self.cluster, document.observed, body, identity)

    def _kept(self, user: Any) -> bool:
        return self.members is None or user in self.members

    def _named(self, user: Any) -> str:
        return str(user) if self.user is None else self.user(str(user))

    def _rename_hosts(self, body: dict[str, JsonValue]) -> None:
        if self.host is None:
            return
        node, device = body.get("login_node"), body.get("device")
        if isinstance(node, str):
            body["login_node"] = self.host(node)
        if self.servers and isinstance(device, str) and ":" in device:
            server, _, path = device.rpartition(":")
            body["device"] = f"{self.host(server)}:{path}"


def _digest(identity: str) -> str:
    # An identity may hold the name of a host; the spool remembers it for weeks.
    return hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def user_count(kind: str, name: str, users: list[str], before: Mapping[str, JsonValue]) -> tuple[str, dict[str, Any]]:
    """Kind and body of a document that lists users, with their count under `name`."""
    return kind, {**before, name + _COUNT: len(users), "users": users}
