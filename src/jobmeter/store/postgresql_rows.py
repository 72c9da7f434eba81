"""Rows of records in PostgreSQL: adding, and finding by id."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from jobmeter.store.facet import Numbers, Signature
from jobmeter.store.packed import int4s, int8s, texts
from jobmeter.store.row import Batch, Held
from jobmeter.store.session import Connection

_INSERT = """WITH added AS (
        INSERT INTO records (start_us, stop_us, site, grp, usr, record_id, core, since_us)
        SELECT *, %b::bigint FROM unnest(%b, %b, %b, %b, %b, %b, %b) ON CONFLICT (record_id) DO NOTHING
        RETURNING seq, record_id
    ), noted AS (
        INSERT INTO rollup_pending (low, high, seqs)
        SELECT min(seq), max(seq), array_agg(seq) FROM added HAVING count(*) > 0
    )
    SELECT record_id FROM added"""
_ELSEWHERE = "SELECT EXISTS (SELECT FROM archive_files), EXISTS (SELECT FROM withdrawn)"


class Added(Struct, frozen=True):
    """The keys that were added, and where else there are records, so that these must be looked for."""

    new: set[str]
    archived: bool
    withdrawn: bool


def insert(writer: Connection, batch: Batch, numbers: Mapping[Signature, Numbers], now_us: int) -> Added:
    """Add the records whose ids are not there yet, in order; they are there since `now_us`."""
    sites, groups, users = zip(*[numbers[signature] for signature in batch.facets], strict=True)
    columns = (
        now_us,
        int8s(batch.starts),
        int8s(batch.stops),
        int4s(sites),
        int4s(groups),
        int4s(users),
        texts([key.encode() for key in batch.keys]),
        texts(batch.cores),
    )
    new = {key for (key,) in writer.execute(_INSERT, columns, prepare=True)}
    # Asked after adding: what another process was archiving meanwhile is listed by then.
    ((archived, withdrawn),) = writer.execute(_ELSEWHERE, prepare=True)
    return Added(new, archived, withdrawn)


def held_rows(writer: Connection, keys: set[str], *, lock: bool = False) -> dict[str, Held]:
    """The stored records among `keys`; with `lock` nobody else changes them until the transaction ends."""
    if not keys:
        return {}
    # Locked in one order by everybody, so that two callers cannot wait for each other.
    statement = "SELECT record_id, seq, start_us, records.body FROM records WHERE record_id = ANY(%b)"
    rows = writer.execute(
        statement + " ORDER BY record_id FOR UPDATE" if lock else statement,
        (texts([key.encode() for key in keys]),),
    )
    return {key: Held(seq, start_us, body.encode()) for key, seq, start_us, body in rows}
