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
BUSY_RECORDS = 3_000
"""So many records written during a pause, or while a part was folded: they pour in."""
WAIT_SECONDS_MAX = 300.0


async def fold_for_ever(store: RecordStore, readers: Readers, writer: Writer) -> None:
    """Fold what is pending, and look again a second after all is folded."""
    waited = 0.0
    while True:
        pause = PAUSE_SECONDS
        seen = writer.taken
        try:
            if waited >= WAIT_SECONDS_MAX:
                await readers.ask(store.fold)
                waited = 0.0
            folded = 1
            while folded and waited == 0.0 and writer.taken - seen < BUSY_RECORDS:
                seen = writer.taken
                folded = await readers.ask(store.fold)
        except StoreUnavailable as fault:
            log.warning("folding.put_off reason=%r", str(fault))
            pause = AWAY_SECONDS
        except Exception:  # a supervisor loop: the server goes on whatever folding met
            log.exception("folding.failed")
            pause = AWAY_SECONDS
        before = writer.taken
        await asyncio.sleep(pause)
        waited = waited + pause if writer.taken - before >= BUSY_RECORDS else 0.0
