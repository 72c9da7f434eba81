"""Records on their way in that are in conflict with a stored one: settled by precedence, or kept to be decided.

Precedence is the operator's: of two records with one id that two collectors made, the one of the stronger collector is
kept. What it replaces is a version; a weaker one that comes later is kept as a conflict that is decided already.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from jobmeter.contract import Clock, RecordStore
from jobmeter.model.access import Asker, Role
from jobmeter.model.conflict import Conflict, Decision
from jobmeter.model.outcome import Stored
from jobmeter.model.record import Record
from jobmeter.model.version import Changed, Edit
from jobmeter.serve.answer import Scope
from jobmeter.serve.asker import asker_of
from jobmeter.serve.bulk import Judged
from jobmeter.serve.history import Find
from jobmeter.serve.letterbox import origin_of
from jobmeter.serve.meter import Fate
from jobmeter.serve.reads import Readers
from jobmeter.serve.settings import ConflictSettings
from jobmeter.serve.writer import Writer
from jobmeter.wire.auditor import BadRecord, decode_record, encode_record

log = logging.getLogger("jobmeter.serve")


class Disputes:
    """Stores records through the writer, and takes care of those in conflict."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        writer: Writer,
        store: RecordStore,
        readers: Readers,
        settings: ConflictSettings,
        clock: Clock,
        find: Find,
    ) -> None:
        self._find = find
        self._writer = writer
        self._store = store
        self._readers = readers
        self._key = settings.meta_key
        self._ranks = {value: rank for rank, value in enumerate(settings.precedence)}
        self._clock = clock

    def to_bury(self, refused: Iterable[Judged]) -> list[tuple[bytes, str]]:
        """What dead letters are made of, with the reasons. A conflict is none where it is kept to be decided."""
        kept = {Fate.CONFLICT} if self._writer.keeps_conflicts else set()
        return [(one.raw, one.sentence) for one in refused if one.outcome not in kept]

    async def put(self, scope: Scope, records: Sequence[Record]) -> list[Stored]:
        """What the store did with each record, once that is durable; a conflict that precedence settled is `same`.

        Raises StoreUnavailable.
        """
        stored = await self._writer.put(records)
        if Stored.CONFLICT not in stored:
            return stored
        asker, origin, now = asker_of(scope), origin_of(scope), self._clock.now()
        found: list[Conflict] = []
        for place, outcome in enumerate(stored):
            if outcome is not Stored.CONFLICT:
                continue
            record = records[place]
            edit = await self._settled(asker, record) if self._rank(record) is not None else None
            if edit is not None:
                stored[place] = Stored.SAME
            if edit is None or edit.at is not None:
                decision = None if edit is None else Decision.KEEP
                body = encode_record(record)
                found.append(Conflict(record.record_id, body, origin, now, decision, edit or Edit()))
        if found:
            await self._writer.dispute(found)
        return stored

    async def _settled(self, asker: Asker, record: Record) -> Edit | None:
        """None when it is to be decided; an Edit without a time when the record was taken, with one when it was not."""
        body = await self._find(record.record_id)
        held = None if body is None else _record(body)
        if held is None or asker.fault(Role.WRITE, held.record_id, held.meta) is not None:
            return None
        mine, theirs = self._rank(record), self._rank(held)
        if mine is None or theirs is None or mine == theirs:
            return None
        names = f"{self._key} {self._value(record)} comes {{}} {self._value(held)}"
        now = self._clock.now()
        if mine < theirs:
            return Edit(asker.name, names.format("before"), now)
        edit = Edit(asker.name, names.format("after"), now)
        changed = await self._readers.ask(self._store.correct, record, edit)
        if changed not in (Changed.DONE, Changed.SAME):
            return None
        log.info("write.superseded record=%s by=%s why=%r", record.record_id, asker.name, edit.why)
        return Edit(edit.who, edit.why)

    def _rank(self, record: Record) -> int | None:
        return self._ranks.get(self._value(record)) if self._ranks else None

    def _value(self, record: Record) -> str:
        values = (record.meta or {}).get(self._key, ())
        return values[0] if len(values) == 1 else ""


def _record(body: bytes) -> Record | None:
    try:
        return decode_record(body)
    except BadRecord:  # stored under rules of another day: it has no rank
        return None
