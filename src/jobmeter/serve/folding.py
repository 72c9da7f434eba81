"""Folding of stored records into the rollups, in the background: answers never wait for it, and are right without it.

While records pour in folding waits, as both want the processor: totals are slower for as long, a bulk load is not.
"""

from __future__ import annotations

import asyncio
import logging

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.serve.reads import Readers
from jobmeter.serve.writer import Writer

log = logging.getLogger("jobmeter.serve")

PAUSE_SECONDS = 1.0
AWAY_SECONDS = 5.0
BUSY_RECORDS_A_SECOND = 2_000
"""So many records are written a second: they pour in."""
LOOK_SECONDS = 0.5
"""How long the records are counted at least."""
WAIT_SECONDS_MAX = 300.0


async def fold_for_ever(store: RecordStore, readers: Readers, writer: Writer) -> None:
    """Fold what is pending, and look again a second after all is folded."""
    flow, waited = _Flow(writer), 0.0
    while True:
        pause = PAUSE_SECONDS
        try:
            if waited >= WAIT_SECONDS_MAX:
                await readers.ask(store.fold)
                waited = 0.0
            folded = 1
            while folded and waited == 0.0 and not flow.is_strong():
                folded = await readers.ask(store.fold)
        except StoreUnavailable as fault:
            log.warning("folding.put_off reason=%r", str(fault))
            pause = AWAY_SECONDS
        except Exception:  # a supervisor loop: the server goes on whatever folding met
            log.exception("folding.failed")
            pause = AWAY_SECONDS
        await asyncio.sleep(pause)
        waited = waited + pause if flow.is_strong() else 0.0


class _Flow:
    """Whether records pour in."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._at, self._taken = asyncio.get_running_loop().time(), writer.taken
        self._is_strong = False

    def is_strong(self) -> bool:
        """Of the time since it was last counted, or as it was then if that is too short ago to tell."""
        now, taken = asyncio.get_running_loop().time(), self._writer.taken
        seconds = now - self._at
        if seconds >= LOOK_SECONDS:
            self._is_strong = taken - self._taken >= BUSY_RECORDS_A_SECOND * seconds
            self._at, self._taken = now, taken
        return self._is_strong
