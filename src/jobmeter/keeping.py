"""What the stores beside the records fulfil: samples, summaries, conflicts, tokens. See also `jobmeter.contract`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from msgspec import Struct

from jobmeter.contract import SampleSink
from jobmeter.model.conflict import Conflict, Decision
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Metric
from jobmeter.model.publication import Publication
from jobmeter.model.sample import Sample
from jobmeter.model.series import SampleQuestion, SampleStoreState, SampleTable
from jobmeter.model.summary import JobSummary
from jobmeter.model.token import Token
from jobmeter.model.version import Edit


class SampleFeed(Protocol):
    """What comes into a sample store, as it comes. For one thread at a time."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The catalogue entries of what was given so far, by name."""
        ...

    def read(self) -> Iterable[Sample]:
        """The samples that came since the last reading, in the order in which they came. Waits for nothing."""
        ...

    def close(self) -> None:
        """Release files. Called once."""
        ...


@runtime_checkable
class SampleStore(Protocol):
    """The samples: questions answered as tables, series by series. Safe to call from several threads."""

    def tables(self, question: SampleQuestion) -> Iterator[SampleTable]:
        """One table per series with matching samples. Raises StoreUnavailable when the first is asked for."""
        ...

    def state(self) -> SampleStoreState:
        """What the store holds. Raises StoreUnavailable."""
        ...

    def tail(self) -> SampleFeed:
        """What comes from now on, whichever process writes it."""
        ...

    def sink(self) -> SampleSink:
        """The way in; who asks first opens it. Raises StoreUnavailable where another process writes this store."""
        ...

    def close(self) -> None:
        """Finish what runs and release files."""
        ...


JobKey = tuple[str, str]
"""Manager and number of a job: whatever has both may be of the same job."""


class NamedRecord(Struct, frozen=True):
    """What a collector says of a record that it sent: which job it is of. `ended_us` is its time, from 1970 UTC."""

    job: JobIdentity
    record_id: str
    ended_us: int


class JobPart(Struct):
    """All that is known of the jobs of one key: summaries by number, and records with their cluster ("" unknown)."""

    summaries: list[tuple[int, JobSummary]]
    records: dict[str, str]


class SummaryStore(Protocol):
    """The summaries of jobs, by job identity. Safe to call from several threads; all may raise StoreUnavailable."""

    def put(self, summaries: Sequence[tuple[JobSummary, str | None]]) -> None:
        """Keep summaries, each with the id that the record of its job has or will have (None: not known).

        Durable on return. Of several of a job that begin at the same time the one that tells most is kept, in
        whichever order they come.
        """
        ...

    def name_records(self, named: Sequence[NamedRecord]) -> None:
        """Keep which records are of which jobs. Durable on return; repeats change nothing."""
        ...

    def records_of(self, job: JobIdentity) -> list[str]:
        """The ids of the records that collectors have named as this job's, of any run."""
        ...

    def waiting(self, after: int, limit: int) -> list[tuple[int, JobKey]]:
        """The next summaries that have not been joined, by number, above `after`."""
        ...

    def jobs_of_records(self, record_ids: Sequence[str]) -> list[JobKey]:
        """The jobs whose summaries are of one of these records, by a rule or because they were joined."""
        ...

    def parts(self, jobs: Sequence[JobKey]) -> list[JobPart]:
        """What is known of these jobs, as far as there are summaries."""
        ...

    def settle(self, joined: Mapping[int, str]) -> None:
        """These summaries, by number, were joined to these records."""
        ...

    def give_up(self, before_ns: int) -> int:
        """Wait no more for the records of jobs that ended before then; how many summaries that are."""
        ...

    def of_record(self, record_id: str) -> JobSummary | None:
        """The summary that belongs to a record, whichever of the two came first; of several runs the last."""
        ...

    def of_job(self, manager: str, cluster: str | None, job: str) -> list[JobSummary]:
        """The summaries of all runs of a job, on one cluster or on all."""
        ...

    def close(self) -> None:
        """Release the database."""
        ...


class ConflictStore(Protocol):
    """Records that were sent with the id of a stored one and other content. Safe to call from several threads.

    Every method raises StoreUnavailable when the database does not answer.
    """

    def keep(self, found: Sequence[Conflict]) -> None:
        """Keep conflicts, durable on return. One that is kept already is counted; a former state of its record is none.

        Beyond the store's bound the oldest go, decided ones first; open ones that go are counted.
        """
        ...

    def find(self, after: int, limit: int, *, decided: bool = False) -> list[Conflict]:
        """The open conflicts, or those that were decided, with numbers above `after`, in order of number."""
        ...

    def one(self, number: int) -> Conflict | None:
        """The conflict with this number."""
        ...

    def decide(self, number: int, decision: Decision, edit: Edit) -> bool:
        """Note a decision; False when there is no such open conflict."""
        ...

    def count(self) -> tuple[int, int]:
        """How many are open, and how many open ones had to go, ever."""
        ...

    def close(self) -> None:
        """Release the database."""
        ...


class ArchiveState(Struct, frozen=True, kw_only=True):
    """What the archive holds, and when its work was and will be done.

    `newest` is when the newest file was written, by whichever process; success and failure are of this one. `due` is
    None where nothing is archived by itself; then `months` is None, too: those before so many whole ones are archived.
    """

    files: int
    records: int
    size_bytes: int
    newest: datetime | None
    succeeded: datetime | None = None
    failed: datetime | None = None
    due: datetime | None = None
    months: int | None = None


class ArchiveView(Protocol):
    """The archive, to look at. Safe to call from several threads."""

    def state(self, now: datetime) -> ArchiveState:
        """How it is. Raises StoreUnavailable."""
        ...


class PublicationStore(Protocol):
    """What reporters told somebody outside. Safe to call from several threads; all may raise StoreUnavailable."""

    def put(self, told: Sequence[Publication]) -> None:
        """Keep publications, durable on return. One that was told before takes the place of what was told of it."""
        ...

    def between(self, first: str, last: str, limit: int) -> list[Publication]:
        """Those about the months from `first` to `last` ("2026-01"), both in, the newest first."""
        ...

    def close(self) -> None:
        """Release the database."""
        ...


@runtime_checkable
class TokenStore(Protocol):
    """The bearer tokens that were handed out, known by the digest of their secret. Safe to call from several threads.

    Every method raises StoreUnavailable when the database does not answer.
    """

    def add(self, token: Token, digest: bytes) -> Token:
        """Keep a new token, durable on return; the same with the number that it was given."""
        ...

    def all(self) -> list[Token]:
        """Every token there ever was, in order of number."""
        ...

    def find(self, digest: bytes) -> Token | None:
        """The token whose secret has this digest, whether or not it is good at present."""
        ...

    def revoke(self, number: int, moment: datetime) -> Token | None:
        """End the token with this number, unless it was ended before; what it is now, None when there is none."""
        ...

    def close(self) -> None:
        """Release the database."""
        ...
