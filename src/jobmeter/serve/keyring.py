"""Tokens on the way in: the store is asked once in a few seconds about each, so that a request costs one digest.

A token that is revoked or changed elsewhere is noticed after REMEMBERED_SECONDS at the latest.
"""

from __future__ import annotations

import asyncio

from msgspec import Struct

from jobmeter.contract import Clock
from jobmeter.keeping import TokenStore
from jobmeter.model.access import Asker
from jobmeter.model.token import Token
from jobmeter.serve.reads import Readers
from jobmeter.serve.secret import LENGTH_MAX, digest_of

REMEMBERED_SECONDS = 3.0
REMEMBERED_MAX = 4096
"""So many tokens, known and unknown ones, are remembered at a time."""


class _Known(Struct, frozen=True):
    token: Token | None
    asker: Asker | None
    until: float


class Keyring:
    """The tokens of one application. All methods belong to one event loop. Without a store no token opens anything."""

    def __init__(self, store: TokenStore | None, readers: Readers, clock: Clock) -> None:
        self._store = store
        self._readers = readers
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._asked: dict[bytes, asyncio.Task[_Known]] = {}

    async def asker(self, secret: bytes) -> Asker | None:
        """Who shows this secret, or None when it is no token that is good now. Raises StoreUnavailable."""
        if self._store is None or not 0 < len(secret) <= LENGTH_MAX:
            return None
        digest = digest_of(secret)
        known = self._known.get(digest)
        if known is None or known.until < asyncio.get_running_loop().time():
            known = await self._ask_once(self._store, digest)
        if known.token is None or not known.token.good_at(self._clock.now()):
            return None
        return known.asker

    async def _ask_once(self, store: TokenStore, digest: bytes) -> _Known:
        """Requests that show the same token while it is being looked up share the answer."""
        task = self._asked.get(digest)
        if task is None:
            task = self._asked[digest] = asyncio.create_task(self._ask(store, digest))
            task.add_done_callback(lambda _: self._asked.pop(digest, None))
        return await asyncio.shield(task)

    async def _ask(self, store: TokenStore, digest: bytes) -> _Known:
        token = await self._readers.ask(store.find, digest)
        until = asyncio.get_running_loop().time() + REMEMBERED_SECONDS
        known = _Known(token, None if token is None else token.asker, until)
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[digest] = known
        return known
