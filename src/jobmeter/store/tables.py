"""The one schema of the record store, for SQLite and PostgreSQL.

`records` keeps each record as the bytes that answers are made of (`body`), beside the columns that questions are asked
of. What the columns say already is left out of what is kept (`core`); the database puts it back when `body` is read,
see `jobmeter.store.core`. Times are microseconds since 1970 UTC. `site`, `grp` and `usr` are numbers of `facets`, NULL
when the record's meta has none of the facet's keys. `record_id` is the key made by `jobmeter.store.row.key_of`, in byte
order.

A state of a record holds from `since_us` on, until `until_us` of the row in `versions` that a change made of it; both
are when the store wrote it. A row of `versions` has the columns of `records` too, so that what was at an instant is the
union of both (`jobmeter.store.past`). `since_us` is NULL where the state is older than these columns: it always was.

`archive_files` lists the Parquet files that hold what left `records`; a record is in one place only. `archive_recalled`
are the records of listed files that are back in `records`.

Indices, chosen by measurement at one million records (`bench/store.py`): one covering index in order of stop time
answers every question made of times and facets without touching a row that does not match, so an index per facet would
only cost: it halves the ingest rate of SQLite. PostgreSQL folds equal keys, so there an index of users costs
9 bytes a record and saves scans for a user of few jobs among many millions.

Rollups are sums by month of the stop, site, group and user (`rollups`), and by kind of component (`rollup_amounts`; a
kind is a name with its scores, in `rollup_kinds`); on `level` 1 all groups and users of a site are one row. On
levels 2 and 3 all components of a name that have scores are a row of the kind without scores. Their key
cannot hold NULL, so 0 stands there for "none": no month and no number of `facets` is 0. Records that are not in them
yet stand in `rollup_pending`, from the transaction that stored them on: a batch as the range from `low` to `high`, and
in PostgreSQL, where the numbers of batches may be mixed, as the list `seqs`. Rollups plus what is pending is what the
records add up to, at any moment. Rows of rollups do not need the records that they were made of.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    event,
)
from sqlalchemy.dialects import postgresql

from jobmeter.store.core import BODY_FUNCTION, body_column

metadata = MetaData()

NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A key that the database counts up: 64 bits on both (SQLite's INTEGER PRIMARY KEY is its row number)."""

BYTEWISE = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text in byte order, as SQLite has it anyway."""

records = Table(
    "records",
    metadata,
    Column("seq", NUMBER, Identity(), primary_key=True),
    Column("start_us", BigInteger, nullable=False),
    Column("stop_us", BigInteger),
    Column("site", Integer),
    Column("grp", Integer),
    Column("usr", Integer),
    Column("record_id", BYTEWISE, nullable=False),
    Column("core", Text, nullable=False),
    body_column(),
    Column("since_us", BigInteger),
    UniqueConstraint("record_id", name="records_record_id"),
    sqlite_autoincrement=True,
)
event.listen(records, "after_create", DDL(BODY_FUNCTION).execute_if(dialect="postgresql"))  # type: ignore[no-untyped-call]

Index("records_stop", records.c.stop_us, records.c.site, records.c.grp, records.c.usr, records.c.start_us)
Index("records_usr", records.c.usr).ddl_if(dialect="postgresql")

facets = Table(
    "facets",
    metadata,
    Column("no", Integer, Identity(), primary_key=True),
    Column("facet", SmallInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("value", Text, nullable=False),
    UniqueConstraint("digest", name="facets_digest"),
    sqlite_autoincrement=True,
)

facet_terms = Table(
    "facet_terms",
    metadata,
    Column("term", LargeBinary, primary_key=True),
    Column("no", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("no", NUMBER, Identity(), primary_key=True),
    Column("origin", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

tokens = Table(
    "tokens",
    metadata,
    Column("no", Integer, Identity(), primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("grants", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    UniqueConstraint("digest", name="tokens_digest"),
    sqlite_autoincrement=True,
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

archive_files = Table(
    "archive_files",
    metadata,
    Column("no", NUMBER, Identity(), primary_key=True),
    Column("path", Text, nullable=False),
    Column("month", Text, nullable=False),
    Column("layout", Text, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("whole", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("file_digest", Text, nullable=False),
    Column("content_digest", Text, nullable=False),
    Column("first_stop_us", BigInteger, nullable=False),
    Column("last_stop_us", BigInteger, nullable=False),
    Column("first_start_us", BigInteger, nullable=False),
    Column("written_us", BigInteger, nullable=False),
    Column("ids", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

archive_recalled = Table(
    "archive_recalled",
    metadata,
    Column("file_no", NUMBER, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

job_summaries = Table(
    "job_summaries",
    metadata,
    Column("no", NUMBER, Identity(), primary_key=True),
    Column("job", BYTEWISE, nullable=False),
    Column("manager", BYTEWISE, nullable=False),
    Column("cluster", BYTEWISE, nullable=False),
    Column("run", BigInteger, nullable=False),
    Column("first_ns", BigInteger, nullable=False),
    Column("last_ns", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("record_id", BYTEWISE),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("job", "manager", "cluster", "run", "first_ns", name="job_summaries_job"),
    sqlite_autoincrement=True,
)

Index("job_summaries_record", job_summaries.c.record_id)
Index("job_summaries_state", job_summaries.c.state, job_summaries.c.no)

record_jobs = Table(
    "record_jobs",
    metadata,
    Column("job", BYTEWISE, primary_key=True),
    Column("manager", BYTEWISE, primary_key=True),
    Column("cluster", BYTEWISE, primary_key=True),
    Column("record_id", BYTEWISE, primary_key=True),
    Column("ended_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

bookmarks = Table(
    "bookmarks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

collectors = Table(
    "collectors",
    metadata,
    Column("source", Text, primary_key=True),
    Column("spool", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("prefix", Text),
    Column("waiting", BigInteger, nullable=False),
    Column("letters", BigInteger, nullable=False),
    Column("oldest_seconds", BigInteger),
    Column("reported_us", BigInteger, nullable=False),
    Column("up_us", BigInteger),
    Column("cpu_us", BigInteger),
    Column("peak_bytes", BigInteger),
)

collected_days = Table(
    "collected_days",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("source", Text, primary_key=True),
    Column("spool", Text, primary_key=True),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("records", "again", "refused", "ignored", "delivered", "rejected", "dropped")
    ),
)

WHOLE = Numeric(asdecimal=False).with_variant(LargeBinary, "sqlite")
"""A whole number of any size. SQLite ends at 64 bits: there larger ones are text, and a BLOB column keeps both."""

rollups = Table(
    "rollups",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("month", Integer, primary_key=True, autoincrement=False),
    Column("site", Integer, primary_key=True, autoincrement=False),
    Column("grp", Integer, primary_key=True, autoincrement=False),
    Column("usr", Integer, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    Column("seconds", WHOLE, nullable=False),
    Column("micros", WHOLE, nullable=False),
    sqlite_with_rowid=False,
)

rollup_kinds = Table(
    "rollup_kinds",
    metadata,
    Column("no", Integer, Identity(), primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("name_digest", LargeBinary, nullable=False),
    Column("value", Text, nullable=False),
    UniqueConstraint("digest", name="rollup_kinds_digest"),
    sqlite_autoincrement=True,
)

Index("rollup_kinds_name", rollup_kinds.c.name_digest)

rollup_amounts = Table(
    "rollup_amounts",
    metadata,
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("month", Integer, primary_key=True, autoincrement=False),
    Column("site", Integer, primary_key=True, autoincrement=False),
    Column("grp", Integer, primary_key=True, autoincrement=False),
    Column("usr", Integer, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    Column("amount", WHOLE, nullable=False),
    Column("amount_seconds", WHOLE, nullable=False),
    sqlite_with_rowid=False,
)

day_marks = Table(
    "day_marks",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("mark", BigInteger, nullable=False),
)

day_questions = Table(
    "day_questions",
    metadata,
    Column("question", LargeBinary, primary_key=True),
    Column("turn", BigInteger, nullable=False),
    Column("asked", LargeBinary, nullable=False),
)

day_sums = Table(
    "day_sums",
    metadata,
    Column("question", LargeBinary, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("mark", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

rollup_pending = Table(
    "rollup_pending",
    metadata,
    Column("no", NUMBER, Identity(), primary_key=True),
    Column("low", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    Column("seqs", postgresql.ARRAY(BigInteger).with_variant(Text, "sqlite")),
    sqlite_autoincrement=True,
)

versions = Table(
    "versions",
    metadata,
    Column("no", NUMBER, Identity(), primary_key=True),
    Column("record_id", BYTEWISE, nullable=False),
    Column("kind", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("at_us", BigInteger),
    Column("body", Text, nullable=False),
    Column("next_digest", LargeBinary, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("seq", BigInteger),
    Column("since_us", BigInteger),
    Column("until_us", BigInteger),
    Column("start_us", BigInteger),
    Column("stop_us", BigInteger),
    Column("site", Integer),
    Column("grp", Integer),
    Column("usr", Integer),
    sqlite_autoincrement=True,
)

Index("versions_record_id", versions.c.record_id, versions.c.no)
Index("versions_until", versions.c.until_us)

withdrawn = Table(
    "withdrawn",
    metadata,
    Column("record_id", BYTEWISE, primary_key=True),
    Column("body", Text, nullable=False),
)

conflicts = Table(
    "conflicts",
    metadata,
    Column("no", NUMBER, Identity(), primary_key=True),
    Column("record_id", BYTEWISE, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("body", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("decision", Text),
    Column("who", Text),
    Column("why", Text),
    Column("at_us", BigInteger),
    UniqueConstraint("record_id", "digest", name="conflicts_content"),
    sqlite_autoincrement=True,
)

counted_keys = Table(
    "counted_keys",
    metadata,
    Column("no", Integer, Identity(), primary_key=True),
    Column("key", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    sqlite_autoincrement=True,
)

counted_values = Table(
    "counted_values",
    metadata,
    Column("key_no", Integer, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, primary_key=True),
    Column("value", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

publications = Table(
    "publications",
    metadata,
    Column("identity", Text, primary_key=True),
    Column("site", Text, nullable=False),
    Column("month", Text, nullable=False, index=True),
    Column("made_us", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
