"""The tables of facility documents.

`documents` keeps each document as it came (`body`, JSON without the token). `identity` knows a repeat of a delivery.
`document_users` has a row for each user, way of use, cluster and day (since 1970, UTC), so that it stays small.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from jobmeter.store.tables import NUMBER, metadata

documents = Table(
    "documents",
    metadata,
    Column("seq", NUMBER, Identity(), primary_key=True),
    Column("received_us", BigInteger, nullable=False),
    Column("observed_us", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("node", Text),
    Column("subject", Text),
    Column("state", Text),
    Column("identity", LargeBinary),
    Column("body", Text, nullable=False),
    UniqueConstraint("identity", name="documents_identity"),
    sqlite_autoincrement=True,
)

Index("documents_kind", documents.c.kind, documents.c.observed_us, documents.c.cluster)
Index("documents_received", documents.c.received_us)

document_users = Table(
    "document_users",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("cluster", Text, primary_key=True),
    Column("access", Text, primary_key=True),
    Column("usr", Text, primary_key=True),
    sqlite_with_rowid=False,
)
