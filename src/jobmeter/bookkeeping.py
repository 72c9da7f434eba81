"""The part of the record store's contract about changes of records, sums kept of them, and what collectors report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import date

    from jobmeter.model.collection import Collection as Report
    from jobmeter.model.collection import CollectorState, Reconciled
    from jobmeter.model.record import Record
    from jobmeter.model.version import Changed, Edit, Version


@runtime_checkable
class Bookkeeping(Protocol):
    """Changes keep what they replace; sums follow every write."""

    def correct(self, record: Record, edit: Edit) -> Changed:
        """Replace the stored record of the same id; what it was is kept as a version. Durable on return."""
        ...

    def amend(self, record_ids: Sequence[str], change: Callable[[Record], Record], edit: Edit) -> list[Changed]:
        """Replace stored records by what `change` makes of each as it is now, all at once; as by `correct`.

        `change` is pure and leaves the id as it is. Durable on return.
        """
        ...

    def withdraw(self, record_id: str, edit: Edit) -> Changed:
        """Take a record out of the account; what it was is kept as a version. Durable on return.

        Its id stays taken: the same record sent again is told to be there, another one is a conflict.
        """
        ...

    def versions(self, record_id: str) -> list[Version]:
        """The states that a record no longer has, oldest first; whoever asks must be allowed to see the record."""
        ...

    def check_versions(self) -> list[str]:
        """A sentence for each place where the kept versions are not what was written: none, when all is well."""
        ...

    def fold(self, batches_max: int = 200) -> int:
        """Add at most so many batches that are pending to the rollups; how many there were. Never changes an answer.

        The server calls it again and again; a store that is never folded only gets slower.
        """
        ...

    def behind(self) -> int:
        """About how many stored records are in no rollup yet, so that totals read each of them."""
        ...

    def check_rollups(self) -> list[str]:
        """A sentence for each place where rollups or kept sums of days are not what the records add up to."""
        ...

    def rebuild_rollups(self) -> None:
        """Forget the rollups and the kept sums of days; all records are pending, for `fold` to take."""
        ...

    @property
    def ledger(self) -> Collections:
        """What collectors reported."""
        ...

    @property
    def counted(self) -> CountsByKey:
        """How many records hold what, by meta keys that were chosen."""
        ...


class CountsByKey(Protocol):
    """Counts of records by the values under chosen meta keys, kept with the rollups."""

    def choose(self, keys: Collection[str]) -> None:
        """Keep counts by these keys and no others from now on. What is stored is counted first, which may take minutes.

        Nobody waits for that. Where it is interrupted, the next call begins it anew.
        """
        ...

    def of(self, key: str) -> dict[str, int] | None:
        """How many records hold each value, as far as they are folded; None where that is not known.

        So it is for a key that was not chosen, is still being counted, or has more values than are kept.
        """
        ...


class Collections(Protocol):
    """What collectors reported, beside what is stored."""

    def keep(self, report: Report, now_us: int) -> None:
        """Keep a report, durable on return; counts are totals, so a repeat changes nothing."""
        ...

    def states(self) -> list[CollectorState]:
        """How every spool was when it reported last."""
        ...

    def reconciled(self, since: date, until: date, *, look_up: bool = True) -> list[Reconciled]:
        """Every source and day from `since` to before `until` that was reported or is stored.

        Without `look_up` the account is not counted, which takes long for many records: nothing is said of `stored`.
        """
        ...
