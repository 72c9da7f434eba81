"""What the stores beside the records fulfil: samples, summaries, conflicts. See also `jobmeter.contract`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from jobmeter.contract import SampleSink
from jobmeter.model.conflict import Conflict, Decision
from jobmeter.model.metric import Metric
from jobmeter.model.sample import Sample
from jobmeter.model.series import SampleQuestion, SampleStoreState, SampleTable
from jobmeter.model.summary import JobSummary
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


class SummaryStore(Protocol):
    """The summaries of jobs, by job identity. Safe to call from several threads; all may raise StoreUnavailable."""

    def put(self, summaries: Sequence[tuple[JobSummary, str | None]]) -> None:
        """Keep summaries, each with the id that the record of its job has or will have (None: not known).

        Durable on return. A later summary of a job takes the place of an earlier one.
        """
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
