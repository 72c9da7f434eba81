"""Dead letters as they are shown, and trying them again."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from jobmeter.contract import RecordStore
from jobmeter.model.access import Asker, Role
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import THERE
from jobmeter.model.record import Record
from jobmeter.serve.parameters import BadParameter
from jobmeter.wire.auditor import BadRecord, decode_record, encode_record

BODY_SHOWN = 4000
TRIED_MAX = 10_000


class Letter(Struct, frozen=True):
    """A dead letter as it is shown: its body as text, cut; `held` of its `records` are in the account."""

    number: int
    letter: DeadLetter
    body: str
    cut: bool
    records: int
    held: int
    can_try: bool


def letters_of(letters: Iterable[DeadLetter], records: RecordStore, asker: Asker) -> list[Letter]:
    """The dead letters as they are shown; what is stored is looked for as far as the asker sees."""
    return [_letter(letter, records, asker) for letter in letters]


def try_again(letter: DeadLetter, records: RecordStore, asker: Asker) -> tuple[int, int]:
    """Store the records of a dead letter; how many are stored now, and how many are refused as before.

    Raises BadParameter when the letter holds no whole record, or one that the asker may not write.
    """
    held = _records(letter)
    if not held:
        raise BadParameter(
            "letter", "holds no record that could be stored: it must be corrected and sent by its sender"
        )
    for record in held:
        if (fault := asker.fault(Role.WRITE, record.record_id, record.meta)) is not None:
            raise BadParameter("letter", f"{fault[0]} {fault[1]}".strip())
    stored = records.put(held)
    kept = sum(one in THERE for one in stored)
    return kept, len(stored) - kept


def _letter(letter: DeadLetter, records: RecordStore, asker: Asker) -> Letter:
    held = _records(letter)
    there = sum(_is_there(record, records, asker) for record in held[:100])
    may = all(asker.fault(Role.WRITE, record.record_id, record.meta) is None for record in held)
    text = letter.body[:BODY_SHOWN].decode("utf-8", "replace")
    cut = letter.size_bytes > BODY_SHOWN
    return Letter(letter.number or 0, letter, text, cut, len(held), there, bool(held) and may and there < len(held))


def _is_there(record: Record, records: RecordStore, asker: Asker) -> bool:
    found = records.one(record.record_id, asker.scope)
    if found is None:
        return False
    return encode_record(decode_record(found)) == encode_record(record)


def _records(letter: DeadLetter) -> list[Record]:
    """The records in a letter that is whole; none where one of them cannot be read."""
    if letter.size_bytes > len(letter.body):
        return []
    try:
        if letter.body.lstrip()[:1] != b"[":
            return [decode_record(letter.body)]
        elements = msgspec.json.decode(letter.body, type=list[msgspec.Raw])
        return [decode_record(bytes(element)) for element in elements[:TRIED_MAX]]
    except (BadRecord, msgspec.MsgspecError, UnicodeDecodeError):
        return []
