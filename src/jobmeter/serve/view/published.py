"""What was published beside what is stored, by month and site; and dead letters that may be tried again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from jobmeter.contract import RecordStore
from jobmeter.model.access import Asker, Role
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import Stored
from jobmeter.model.publication import Fate, Publication
from jobmeter.model.record import Record
from jobmeter.serve.parameters import BadParameter
from jobmeter.wire.auditor import BadRecord, decode_record, encode_record

BODY_SHOWN = 4000
TRIED_MAX = 10_000

Key = tuple[str, str]
"""Month and site."""


class Standing(Struct, frozen=True):
    """A month of a site: jobs in the account, jobs that were published, and what the last message became.

    `published` and `unfit` are None where nothing of that month was accepted; `unfit` are the jobs that the report
    leaves out because they lack something that the receiver wants. `gap` is the number of jobs that are neither.
    """

    month: str
    site: str
    stored: int | None
    published: int | None
    unfit: int | None
    newest: Publication | None

    @property
    def gap(self) -> int | None:
        """Jobs in the account that are neither published nor left out with a reason; None where nothing is known."""
        if self.stored is None or self.published is None:
            return None
        return self.stored - self.published - (self.unfit or 0)


class Letter(Struct, frozen=True):
    """A dead letter as it is shown: its body as text, cut; `held` of its `records` are in the account."""

    number: int
    letter: DeadLetter
    body: str
    cut: bool
    records: int
    held: int
    can_try: bool


def standings(stored: Iterable[tuple[Key, int]], told: Sequence[Publication]) -> list[Standing]:
    """One for each month and site of which either says something, the newest month first."""
    jobs = dict(stored)
    newest: dict[Key, Publication] = {}
    counts: dict[Key, dict[tuple[int, str], Publication]] = {}
    for one in told:
        key = (one.month, one.site)
        newest.setdefault(key, one)
        if one.fate is Fate.ACCEPTED and one.what != "sync":
            counts.setdefault(key, {}).setdefault((one.day, one.what), one)
    found = []
    for month, site in {*jobs, *newest}:
        accepted = list(counts.get((month, site), {}).values())
        found.append(
            Standing(
                month,
                site,
                jobs.get((month, site)),
                sum(one.counts.get("jobs", 0) for one in accepted) if accepted else None,
                sum(one.counts.get("unfit", 0) for one in accepted) if accepted else None,
                newest.get((month, site)),
            )
        )
    return sorted(found, key=lambda one: (_backwards(one.month), one.site))


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
    kept = sum(one in {Stored.NEW, Stored.SAME} for one in stored)
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


def _backwards(month: str) -> tuple[int, ...]:
    return tuple(-ord(sign) for sign in month)
