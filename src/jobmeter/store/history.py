"""Versions: what changed records were before, chained by digests, for either database.

Every row holds the state that a change ended, the digest of the state that followed, and a link: the digest of the row
before and of all that this row says. Whoever changes or takes out a row breaks the chain behind it. All writers of
changes are kept apart by the store (`note_change`), so the order of the numbers is the order of the chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator

import msgspec
from msgspec import Struct
from sqlalchemy import BigInteger, Text, cast, delete, insert, literal, select, update

from jobmeter.model.record import Record, from_microseconds, microseconds
from jobmeter.model.version import Changed, ChangeKind, Edit, Version
from jobmeter.store import kept_counts
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.books import Books, Row
from jobmeter.store.core import core_in
from jobmeter.store.past import moment_of
from jobmeter.store.rollup import State, Sums
from jobmeter.store.row import Change, batch_of, key_of, record_of, storable
from jobmeter.store.tables import records, versions, withdrawn

_START = b"jobmeter versions 1"
_encode = msgspec.json.Encoder().encode
_ANY_WITHDRAWN = "SELECT 1 FROM withdrawn LIMIT 1"
"""Asked at every write, so not made anew each time."""
_NOTHING = b""
"""What follows a withdrawal."""

_SAID = ("no", "record_id", "kind", "who", "why", "at_us", "since_us", "until_us", "body", "next_digest", "chain")
_STATE_NAMES = ("start_us", "stop_us", "site", "grp", "usr")
_STATE = (records.c.since_us, *[records.c[name] for name in _STATE_NAMES])


class Step(Struct, frozen=True):
    """One change of one record: its body before, and after; None after a withdrawal."""

    seq: int
    key: str
    before: bytes
    after: bytes | None
    kind: ChangeKind
    edit: Edit


def keep(execute: Execute, steps: Collection[Step], now_us: int) -> list[int]:
    """Keep what the steps replace, within the transaction that changes the records, before it does.

    The moments of the steps, since when what follows holds.
    """
    if not steps:
        return []
    last = execute(select(versions.c.chain).order_by(versions.c.no.desc()).limit(1))
    chain = bytes(last[0][0]) if last else _START
    moments = []
    for step in steps:
        following = _digest(_NOTHING if step.after is None else step.after)
        at_us = None if step.edit.at is None else microseconds(step.edit.at)
        ((since_us, *state),) = execute(select(*_STATE).where(records.c.seq == literal(step.seq, BigInteger())))
        until_us = moment_of(step.edit, since_us, now_us)
        said = (step.key, step.kind.value, step.edit.who, step.edit.why, at_us)
        chain = _link(chain, _dated(said, since_us, until_us), step.before, following)
        execute(
            insert(versions).values(
                record_id=step.key,
                kind=step.kind.value,
                who=step.edit.who,
                why=step.edit.why,
                at_us=at_us,
                body=step.before.decode(),
                next_digest=following,
                chain=chain,
                seq=step.seq,
                since_us=since_us,
                until_us=until_us,
                **dict(zip(_STATE_NAMES, state, strict=True)),
            )
        )
        moments.append(until_us)
    return moments


def versions_of(execute: Execute, key: str) -> list[Version]:
    """The states that the record with this key no longer has, oldest first."""
    columns = (versions.c.body, versions.c.kind, versions.c.who, versions.c.why, versions.c.at_us)
    rows = execute(select(*columns).where(versions.c.record_id == key).order_by(versions.c.no))
    return [
        Version(
            number,
            _text(body).encode(),
            ChangeKind(_text(kind)),
            Edit(_text(who), _text(why), None if at_us is None else from_microseconds(at_us)),
        )
        for number, (body, kind, who, why, at_us) in enumerate(rows, 1)
    ]


def faults(execute: Execute) -> Iterator[str]:
    """A sentence for each place where the versions are not what was written."""
    chain = _START
    following: dict[str, bytes] = {}
    columns = [versions.c[name] for name in _SAID]
    for no, key, kind, who, why, at_us, since_us, until_us, body, next_digest, link in execute(
        select(*columns).order_by(versions.c.no)
    ):
        name, before = _text(key), _text(body).encode()
        if name in following and following[name] != _digest(before):
            yield f"version {no}: it does not follow the version before it of record {name!r}"
        following[name] = bytes(next_digest)
        said = _dated((name, _text(kind), _text(who), _text(why), at_us), since_us, until_us)
        chain = _link(chain, said, before, bytes(next_digest))
        if chain != bytes(link):
            yield f"version {no} of record {name!r}, or one before it, was changed or taken out"
            chain = bytes(link)
    for name, digest in following.items():
        stored = execute(select(cast(records.c.body, Text)).where(records.c.record_id == literal(name)))
        now = _text(stored[0][0]).encode() if stored else None
        if now is not None and _digest(now) != digest:
            yield f"record {name!r} is not what its last change made of it"


def change(books: Books, record_id: str, record: Record | None, edit: Edit) -> Changed:
    """Replace the stored record of this id by `record`, or take it out of the account (None)."""
    row = books.row(key_of(record_id)) if storable(record_id) else None
    return _replaced(books, row, record_id, record, edit)


def amend(books: Books, record_id: str, how: Callable[[Record], Record], edit: Edit) -> Changed:
    """Replace the stored record of this id by what `how` makes of it."""
    row = books.row(key_of(record_id)) if storable(record_id) else None
    return Changed.UNKNOWN if row is None else _replaced(books, row, record_id, how(record_of(row.state.body)), edit)


def _replaced(books: Books, row: Row | None, record_id: str, record: Record | None, edit: Edit) -> Changed:
    batch = batch_of([] if record is None else [record])
    if batch.refused:
        return Changed.REFUSED
    if row is None:
        return Changed.UNKNOWN
    key = key_of(record_id)
    if record is None:
        _apply(books, key, row, None, ChangeKind.WITHDRAWN, edit)
        return Changed.DONE
    if batch.body(0) == row.state.body:
        return Changed.SAME
    site, grp, usr = books.numbers(batch.facets[0])
    state = State(batch.starts[0], batch.stops[0], site, grp, usr, batch.body(0))
    _apply(books, key, row, state, ChangeKind.CORRECTED, edit)
    return Changed.DONE


def _apply(books: Books, key: str, row: Row, state: State | None, kind: ChangeKind, edit: Edit) -> None:  # noqa: PLR0913, PLR0917
    sums = Sums(kept_counts.followed(books.execute))
    if not books.is_pending(row.seq):
        sums.take(row.state, -1)
        if state is not None:
            sums.take(state, 1)
    books.add_sums(sums)
    after = None if state is None else state.body
    (moment_us,) = keep(books.execute, [Step(row.seq, key, row.state.body, after, kind, edit)], books.now_us)
    if state is None:
        books.execute(delete(records).where(records.c.seq == row.seq))
        books.execute(insert(withdrawn).values(record_id=key, body=row.state.body.decode()))
        return
    books.execute(
        update(records)
        .where(records.c.seq == row.seq)
        .values(
            start_us=state.start_us,
            stop_us=state.stop_us,
            site=state.site,
            grp=state.grp,
            usr=state.usr,
            core=core_in(state.body, key, state.start_us, state.stop_us).decode(),
            since_us=moment_us,
        )
    )


def steps_of(changes: Collection[Change]) -> list[Step]:
    """Stops as steps."""
    return [Step(one.seq, one.key, one.before, one.body, ChangeKind.STOPPED, one.edit) for one in changes]


def without_withdrawn(execute: Execute, new: set[str]) -> dict[str, bytes]:
    """Take out of the database, and of `new`, what was just added and is withdrawn; the bodies that were withdrawn."""
    if not new or not execute(_ANY_WITHDRAWN):
        return {}
    columns = (withdrawn.c.record_id, withdrawn.c.body)
    rows = execute(select(*columns).where(withdrawn.c.record_id.in_(sorted(new))))
    held = {_text(key): _text(body).encode() for key, body in rows}
    if held:
        execute(delete(records).where(records.c.record_id.in_(sorted(held))))
        new.difference_update(held)
    return held


def _dated(said: tuple[object, ...], since_us: int | None, until_us: int | None) -> tuple[object, ...]:
    """With the time that the state held; rows that are older than these columns have none, and none in their link."""
    return said if until_us is None else (*said, since_us, until_us)


def _link(chain: bytes, said: tuple[object, ...], before: bytes, following: bytes) -> bytes:
    return hashlib.sha256(chain + _encode(said) + b"\n" + _digest(before) + following).digest()


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
