"""What an author implements: the protocols of job and sample sources, sections, sinks and the record store.

Call order
----------
*Job source*: `read(cursor, period)` once per cycle. What it yields is stored by the spool together with the cursor that
the batch carries, in one transaction; only then the next batch is asked for. A source keeps no memory of its own: the
same cursor gives the same question. One odd entry never stops or skips the others: it becomes a `Refused` entry.

A batch system that tells of ends as they happen makes a *following source*: a daemon then calls
`follow(cursor, seconds)` in place of `read` and of the pause between two reads, with the same rules for batches and
cursors.

*Sample source*: `read(now_ns, jobs)` once per period, in the sampling thread, so it never waits for a device or a tool.
"Absent" (this machine has none) is told by `SourceAbsent` when the source is opened, "gone" (a job ended during the
read) leaves that job out, "unreadable" raises `SourceUnreadable`. When a job has left the node, the source is read once
more with only that job and `Reading.LAST`: it gives what it still knows of it, and forgets it. In between, jobs that
have just begun or are about to end are read apart from the others, with `Reading.SOME`.

*Sample sink*: `write(batch)` for each batch of a node, one outcome per sample, in order. `flush` makes what was
accepted durable, `reopen` begins new files where there are files. Like every sink it neither retries nor drops.

*Section*: `read(cursor)` once per run. It yields batches of facility documents in the order in which they are sent; the
spool stores each together with its cursor. What a part of it could not observe stands in `unreadable`, as a sentence,
and takes nothing else along: no document is made of what is not known. `SourceAbsent` when the machine has none of it.

*Sink*: `send(items)` with at most `batch_limit` items; one outcome per item, in order. Delivery is at least once, so a
sink tolerates repeats. It never retries, never waits for the next stage to come back, and never drops.

*Record store*: `put` is idempotent by record id and durable when it returns. Reads stream. A store that cannot answer
now raises `StoreUnavailable` before the first byte, or in the middle of a stream.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from msgspec import Struct

from jobmeter.bookkeeping import Bookkeeping

if TYPE_CHECKING:
    # Whoever fulfils or uses one of these contracts imports what it needs of it: a node's agent and an epilog need
    # little, and all together take milliseconds and a megabyte.
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime

    from jobmeter.model.document import Document
    from jobmeter.model.facility import Clusters, DocumentQuestion, Received, Seen, Sight, Span, UserCount
    from jobmeter.model.job import JobIdentity, RunningJob
    from jobmeter.model.letter import DeadLetter
    from jobmeter.model.metric import Metric
    from jobmeter.model.outcome import Outcome, Stopped, Stored
    from jobmeter.model.period import Period
    from jobmeter.model.question import Page, Question, Scope
    from jobmeter.model.record import Record, RecordStop
    from jobmeter.model.sample import Sample, SampleBatch
    from jobmeter.model.total import Total, TotalQuestion


class SourceUnreadable(Exception):  # noqa: N818 - the name says the fact, as the contract's prose does
    """The source exists but could not be read now; the message says what and why. Nothing was lost: ask again later."""


class SourceAbsent(Exception):  # noqa: N818
    """This machine has not what the source measures: no fault. The message says what was looked for."""


class StoreUnavailable(Exception):  # noqa: N818
    """The store cannot answer now (database away, disk full). What was asked may be asked again later."""


class Reading(Enum):
    """What a sample source is asked for."""

    ALL = "all"
    """The node, and all the jobs that are on it."""
    SOME = "some"
    """These jobs alone; there may be others."""
    LAST = "last"
    """These jobs alone, which have just ended."""


class Refused(Struct, frozen=True):
    """An entry of a job source that cannot become a record: its text as the source gave it, and the reason."""

    raw: str
    reason: str


class JobBatch(Struct, frozen=True):
    """What one step of a job source found. `cursor` is where the next read starts once this batch is durable.

    An empty cursor leaves the stored one as it is: what follows it will be found again.
    `seen` counts the entries looked at; `ignored` those that the configuration leaves out, by reason.
    With `first_counts` a record whose id was taken before is a repeat even if its content is another now: the source
    reads what goes on changing after the end.
    """

    records: tuple[Record, ...]
    refused: tuple[Refused, ...]
    cursor: str
    seen: int
    ignored: dict[str, int]
    first_counts: bool = False


@runtime_checkable
class JobSource(Protocol):
    """A batch system whose finished jobs become records."""

    def read(self, cursor: str | None, period: Period | None = None) -> Iterator[JobBatch]:
        """Batches of what ended since `cursor` (None: the first read), or of `period` when one is given.

        With a `period` the cursor of each batch is the given one, unchanged: reading again moves nothing.
        Raises SourceUnreadable when the batch system does not answer.
        """
        ...


@runtime_checkable
class FollowingSource(JobSource, Protocol):
    """A job source that is told of ends as they happen."""

    def follow(self, cursor: str | None, seconds: float) -> Iterator[JobBatch]:
        """What `read(cursor)` gives, and then what ends within about `seconds`, each batch soon after its ends.

        Raises SourceUnreadable, also after some batches.
        """
        ...


class DocumentBatch(Struct, frozen=True):
    """What one step of a section observed, and what it could not. An empty cursor leaves the stored one as it is."""

    documents: tuple[Document, ...]
    cursor: str = ""
    unreadable: tuple[str, ...] = ()


@runtime_checkable
class Section(Protocol):
    """A part of the facility that is observed: its sessions, notebooks, queues, or the host itself."""

    def read(self, cursor: str | None) -> Iterator[DocumentBatch]:
        """What is there now, and what ended since `cursor` (None: the first read).

        Documents carry their own fields only, with names of people and hosts as they are; cluster, selection of users
        and pseudonyms are put on by who reads. Raises SourceAbsent, and SourceUnreadable, also after some batches.
        """
        ...


@runtime_checkable
class SampleSource(Protocol):
    """A measurement of the node and its jobs, taken every period."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The catalogue entries of what it reads; their names begin with the source's name."""
        ...

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterable[Sample]:
        """The samples of this instant, cumulative where the metric is a counter."""
        ...

    def close(self) -> None:
        """Release descriptors and helpers. Called once."""
        ...


class SampleSender(Protocol):
    """Where a node's loop hands its batches to; behind it they wait, travel and are acknowledged."""

    def offer(self, batch: SampleBatch) -> None:
        """Take over a batch. Never blocks and never raises; what must be dropped is counted there."""
        ...

    def counts(self) -> Mapping[str, int]:
        """What the node tells of its sending: numbers by name ("batches_sent", "samples_dropped", "waiting_bytes")."""
        ...

    def close(self, linger_seconds: float) -> None:
        """Try for so long to send what waits, keep the rest where it keeps things, and release. Called once."""
        ...


@runtime_checkable
class AskingSource(SampleSource, Protocol):
    """A sample source that has a tool or a device asked beside, and gives what that said last."""

    def await_answer(self, seconds: float) -> None:
        """Wait until there was an answer, or none could be had, for so long at most. Never called by a node's loop."""
        ...


@runtime_checkable
class StirringSource(SampleSource, Protocol):
    """A sample source that the kernel tells of what happens between two readings."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What becomes readable when something was told."""
        ...

    def stirred(self) -> Mapping[JobIdentity, bool]:
        """Take in what was told: the jobs in which something happened since the last call or reading.

        True for a job that nothing is known to live in any more.
        """
        ...


@runtime_checkable
class SampleSink(Protocol):
    """A place that samples go to."""

    def write(self, batch: SampleBatch) -> Sequence[Outcome]:
        """What became of each sample of the batch, in order and of the same length."""
        ...

    def flush(self) -> None:
        """Make all that was accepted durable. Raises OSError when that fails now."""
        ...

    def reopen(self) -> None:
        """Begin new files, for rotation; nothing to do where there are none."""
        ...

    def close(self) -> None:
        """Flush and release. Called once, after the last `write`."""
        ...


@runtime_checkable
class Sink(Protocol):
    """A place that items go to. Items are encoded bodies, as the spool keeps them."""

    batch_limit: int

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """What became of each item, in order and of the same length."""
        ...

    def close(self) -> None:
        """Release connections. Called once, after the last `send`."""
        ...


@runtime_checkable
class RecordStore(Bookkeeping, Protocol):
    """The account: records by id, questions answered as streams. Safe to call from several threads."""

    def put(self, records: Sequence[Record]) -> list[Stored]:
        """Store what is new, tell what is the same or in conflict; one answer per record, in order, durable on return.

        A record id twice in one call: the first counts, the second is compared with it.
        """
        ...

    def stop(self, stops: Sequence[RecordStop]) -> list[Stopped]:
        """Set the stop times of stored records, overwriting earlier ones; one answer per stop, in order."""
        ...

    def one(self, record_id: str, scope: Scope, as_of_us: int | None = None) -> bytes | None:
        """The stored record as JSON, as it is or was at that instant; None when there is none that the scope sees."""
        ...

    def stream(self, question: Question) -> Iterator[bytes]:
        """The matching records as newline-terminated JSON objects in chunks of many; one consistent view.

        The statement has been accepted by the database when this returns; faults after that come out of the iterator.
        """
        ...

    def totals(self, question: TotalQuestion) -> list[Total]:
        """Sums and extremes of the matching records, group by group in the order of the keys; one consistent view.

        Raises TooManyGroups.
        """
        ...

    def page(self, question: Question, bytes_max: int) -> Page:
        """The first of the matching records, in order: up to the question's limit, which it must have.

        Earlier where the bodies reach `bytes_max`; then, and where more than the limit match, `last` is set.
        """
        ...

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters, durable on return. The oldest go when the store's bound is reached, and are counted."""
        ...

    def letters(self, limit: int) -> list[DeadLetter]:
        """The newest dead letters, newest first."""
        ...

    def letters_evicted(self) -> int:
        """How many dead letters had to go for newer ones, ever."""
        ...

    def counts(self, facet: str | None = None) -> dict[str, int]:
        """How many records there are, under the key "" , or per value of a facet ("site", "group", "user")."""
        ...

    def ping(self) -> None:
        """Return when the database answers; else raise StoreUnavailable within a few seconds."""
        ...

    def close(self) -> None:
        """Finish what runs and release the database."""
        ...


@runtime_checkable
class DocumentStore(Protocol):
    """Facility documents that were received, and what is asked of them. Safe to call from several threads.

    Every method raises StoreUnavailable when the database does not answer. `clusters` are those that the asker may
    see, None: all; `cluster` is the one that is asked for, None: any of these.
    """

    def keep(self, received: Sequence[Received]) -> None:
        """Store documents, durable on return. One whose identity is stored already is a repeat and is left out."""
        ...

    def find(self, question: DocumentQuestion) -> list[Received]:
        """The documents that answer, the newest first, each with its number."""
        ...

    def after(self, number: int, limit: int) -> list[Received]:
        """The documents with numbers above `number`, in order of number."""
        ...

    def newest(self, clusters: Clusters, cluster: str | None, kinds: Sequence[str], since: datetime) -> list[Received]:
        """Of each cluster, kind, node and subject the newest document that was observed since."""
        ...

    def series(self, clusters: Clusters, cluster: str | None, kind: str, span: Span) -> Iterator[Received]:
        """The documents of a kind that were observed within a span, in order of time."""
        ...

    def users(self, clusters: Clusters, cluster: str | None, days: Sequence[tuple[date, date]]) -> list[UserCount]:
        """For each span of days (from, before) how many different people used the facility."""
        ...

    def seen(self, clusters: Clusters, cluster: str | None, span: Span) -> Iterator[Seen]:
        """Who was seen logged in, in order of time."""
        ...

    def sights(self, clusters: Clusters, cluster: str | None, span: Span) -> list[Sight]:
        """When each job of the span was first seen waiting and first seen started."""
        ...

    def prune(self, before: datetime) -> int:
        """Drop the documents that were received before, and tell how many; who used the facility when is kept."""
        ...

    def close(self) -> None:
        """Release the database."""
        ...


@runtime_checkable
class Bookmarks(Protocol):
    """A small durable memory of whoever reads something into the account: how far the reading is, by name."""

    def bookmark(self, name: str) -> str | None:
        """What was kept under `name`, or None."""
        ...

    def keep_bookmark(self, name: str, value: str) -> None:
        """Keep `value` under `name` in place of what was there, durable on return."""
        ...


class Clock(Protocol):
    """Where instants come from, so that tests can choose them."""

    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        ...
