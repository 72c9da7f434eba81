"""Dead letters of the server: what was refused for good, with who sent it and why."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from jobmeter.contract import Clock
from jobmeter.model.access import ANYONE, Asker
from jobmeter.model.letter import DeadLetter
from jobmeter.serve.answer import Scope
from jobmeter.serve.asker import KEY
from jobmeter.serve.writer import Writer

log = logging.getLogger("jobmeter.serve")


class Letterbox:
    """Makes dead letters of what was refused and has them written."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock

    def now(self) -> datetime:
        """The present moment."""
        return self._clock.now()

    async def keep(self, scope: Scope, refused: Sequence[tuple[bytes, str]], size_bytes: int | None = None) -> None:
        """Keep each body with its reason, durable on return. Raises StoreUnavailable.

        `size_bytes` is the size that a single body had before it was cut.
        """
        origin = origin_of(scope)
        now = self._clock.now()
        letters = [
            DeadLetter(origin, reason, body, now, len(body) if size_bytes is None else size_bytes)
            for body, reason in refused
        ]
        if letters:
            await self._writer.bury(letters)
            log.warning("write.refused origin=%s count=%d reason=%r", origin, len(letters), letters[0].reason)


def origin_of(scope: Scope) -> str:
    """The address of the client, as far as it is known, with the name of who asks where that was asked for."""
    client = scope.get("client")
    address = "unknown" if client is None else str(client[0])
    asker: Asker | None = scope.get(KEY)
    return address if asker is None or asker.name == ANYONE else f"{asker.name} at {address}"
