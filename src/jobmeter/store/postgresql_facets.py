"""The dictionary of facets in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from jobmeter.store.facet import Entry, Numbers, Signature, entries_of
from jobmeter.store.packed import byteas, int4s, texts
from jobmeter.store.session import Connection


def intern(writer: Connection, signatures: Sequence[Signature]) -> dict[Signature, Numbers]:
    """The numbers of the facets that each signature stands for, given now where there are none."""
    entries = {signature: entries_of(signature) for signature in signatures}
    # In one order for everybody, so that two callers with the same new entries cannot wait for each other.
    distinct = {entry.digest: entry for three in entries.values() for entry in three if entry is not None}
    ordered = [distinct[digest] for digest in sorted(distinct)]
    numbers = _intern_entries(writer, ordered) if ordered else {}

    def number(entry: Entry | None) -> int | None:
        return None if entry is None else numbers[entry.digest]

    return {
        signature: (number(site), number(group), number(user)) for signature, (site, group, user) in entries.items()
    }


def _intern_entries(writer: Connection, entries: Sequence[Entry]) -> dict[bytes, int]:
    """The numbers of `entries` by digest, new ones where there were none."""
    digests = byteas([entry.digest for entry in entries])
    with writer.transaction():
        writer.execute(
            "INSERT INTO facets (facet, digest, value) SELECT * FROM unnest(%b, %b, %b) "
            "ON CONFLICT (digest) DO NOTHING",
            (int4s([entry.facet for entry in entries]), digests, texts([entry.value.encode() for entry in entries])),
        )
        rows = writer.execute("SELECT digest, no FROM facets WHERE digest = ANY(%b)", (digests,))
        numbers: dict[bytes, int] = dict(rows.fetchall())
        terms = [(term, numbers[entry.digest]) for entry in entries for term in entry.terms]
        writer.execute(
            "INSERT INTO facet_terms (term, no) SELECT * FROM unnest(%b, %b) ON CONFLICT DO NOTHING",
            (byteas([term for term, _ in terms]), int4s([number for _, number in terms])),
        )
    return numbers
