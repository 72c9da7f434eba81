"""The dictionary of facets in SQLite."""

from __future__ import annotations

import sqlite3

from jobmeter.store.facet import Entry, Numbers, Signature, entries_of


def interned(writer: sqlite3.Connection, signature: Signature) -> Numbers:
    """The numbers of the facets that `signature` stands for, given now where there are none."""
    site, group, user = entries_of(signature)
    return _intern(writer, site), _intern(writer, group), _intern(writer, user)


def _intern(writer: sqlite3.Connection, entry: Entry | None) -> int | None:
    if entry is None:
        return None
    row = writer.execute("SELECT no FROM facets WHERE digest = ?", (entry.digest,)).fetchone()
    if row is not None:
        return int(row[0])
    number = writer.execute(
        "INSERT INTO facets (facet, digest, value) VALUES (?, ?, ?)", (entry.facet, entry.digest, entry.value)
    ).lastrowid
    writer.executemany("INSERT INTO facet_terms (term, no) VALUES (?, ?)", [(term, number) for term in entry.terms])
    return number
