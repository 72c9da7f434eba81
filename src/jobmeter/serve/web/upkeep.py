"""What keeps the account: collectors and agents that fell silent, conflicts, rollups, the archive. Only as values."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import Enum

from msgspec import Struct

from jobmeter.keeping import ArchiveState
from jobmeter.model.access import Role
from jobmeter.model.collection import CollectorState
from jobmeter.model.conflict import Conflict
from jobmeter.model.record import from_microseconds, microseconds
from jobmeter.model.series import SampleQuestion, SampleTable
from jobmeter.serve.web.page import Visit

SILENT_AFTER = timedelta(hours=1)
"""A collector's daemon reports each minute, one that is started by cron at each start."""
BEHIND_SECONDS = 900
CONFLICTS_SHOWN = 20
AGENTS_SINCE = timedelta(days=1)
STEP_NS = 300 * 10**9


class Fettle(Enum):
    """How a collector is, the worst that can be said of it."""

    SILENT = "silent"
    BEHIND = "behind"
    LOSING = "has dead letters"
    WELL = "well"


class Collector(Struct, frozen=True):
    """A collector as it reported last."""

    told: CollectorState
    seen: datetime
    fettle: Fettle


class Silent(Struct, frozen=True):
    """An agent that told something in the last day, and nothing lately; `seen` is up to five minutes early."""

    node: str
    seen: datetime


class OpenConflicts(Struct, frozen=True):
    """How many wait for a decision, how many went undecided as there were too many, and the oldest that wait."""

    waiting: int
    lost: int
    oldest: tuple[Conflict, ...]


def sees_sources(visit: Visit) -> bool:
    """Whether the visitor may see what collectors tell: it is about all records."""
    return visit.asker.may(Role.READ) and visit.asker.scope.any_of is None


def collectors(visit: Visit) -> list[Collector]:
    """All collectors that ever reported. Raises StoreUnavailable."""
    if not sees_sources(visit):
        return []
    states = visit.kept.ask("collectors", 4.0, visit.stores.records.ledger.states)
    return [_collector(state, visit.now) for state in states]


def silent_agents(visit: Visit, heard: Iterable[str]) -> list[Silent]:
    """The agents of the last day that are not among those that were `heard` lately. For those who may see nodes."""
    samples = visit.stores.samples
    if samples is None or not visit.asker.may_everywhere(Role.READ):
        return []
    since_ns = microseconds(visit.now - AGENTS_SINCE) * 1000
    question = SampleQuestion(source="agent", metrics=("agent_cpu",), node_only=True, from_ns=since_ns, step_ns=STEP_NS)
    tables = visit.kept.ask("agents of the day", 60.0, lambda: list(samples.tables(question)))
    known = set(heard)
    return [found for table in tables if (found := _last(table)) is not None and found.node not in known]


def conflicts(visit: Visit) -> OpenConflicts | None:
    """The open conflicts, for those who may correct everything. Raises StoreUnavailable."""
    store = visit.stores.conflicts
    if store is None or not visit.asker.may_everywhere(Role.CORRECT):
        return None
    return visit.kept.ask(
        "conflicts", 4.0, lambda: OpenConflicts(*store.count(), tuple(store.find(0, CONFLICTS_SHOWN)))
    )


def behind(visit: Visit) -> int:
    """How many records are in no rollup yet. Raises StoreUnavailable."""
    return visit.kept.ask("behind", 4.0, visit.stores.records.behind)


def archive(visit: Visit) -> ArchiveState | None:
    """The archive; None where this server knows of none. Raises StoreUnavailable."""
    view = visit.stores.archive
    return None if view is None else visit.kept.ask("archive", 20.0, lambda: view.state(visit.now))


def _collector(state: CollectorState, now: datetime) -> Collector:
    seen = from_microseconds(state.reported_us)
    if now - seen > SILENT_AFTER:
        fettle = Fettle.SILENT
    elif state.waiting and (state.oldest_seconds or 0) > BEHIND_SECONDS:
        fettle = Fettle.BEHIND
    else:
        fettle = Fettle.LOSING if state.letters else Fettle.WELL
    return Collector(state, seen, fettle)


def _last(table: SampleTable) -> Silent | None:
    if not len(table.times_ns):
        return None
    return Silent(table.series.node, from_microseconds(table.times_ns[-1] // 1000))
