"""`/health`: whether everything that measures, sends and keeps is well, and what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from time import perf_counter

from msgspec import Struct

from jobmeter.contract import StoreUnavailable
from jobmeter.model.access import Asker, Role
from jobmeter.model.letter import DeadLetter
from jobmeter.model.question import Bound, Column, Op, Question
from jobmeter.model.record import from_microseconds, microseconds
from jobmeter.model.total import COUNT, Extreme, MetaDimension, TotalQuestion
from jobmeter.query.nodes import AGENT_METRICS, agent_states
from jobmeter.serve.meter import Fate
from jobmeter.serve.view.selection import midnight
from jobmeter.serve.web.page import Page, Values, Visit
from jobmeter.serve.web.present import lately, newest, sees_nodes
from jobmeter.serve.web.upkeep import archive, behind, collectors, conflicts, sees_sources, silent_agents

LETTERS_SHOWN = 20
SITE_DAYS = 7
_KINDS = ("ssh", "jupyter-ml", "jupyter-coffea", "condorqueue", "condorjob", "CPU", "MEM", "NETWORK", "DISK")


class Database(Struct, frozen=True):
    """Whether the database answers, and how fast; else what it said."""

    milliseconds: float | None
    fault: str | None = None


class Feed(Struct, frozen=True):
    """Where records or documents come from, and when the newest was true."""

    name: str
    newest: datetime
    count: int | None = None


def show(visit: Visit) -> Values:
    """What the visitor may see of it. A database that is away is shown as away."""
    visit.given.require_known()
    database = _database(visit)
    administers = visit.asker.may(Role.ADMINISTER)
    reads = visit.asker.may(Role.READ)
    reachable = database.fault is None
    agents = agent_states(lately(visit, AGENT_METRICS))
    return {
        "now": visit.now,
        "database": database,
        "administers": administers,
        "reads": reads,
        "sees_nodes": sees_nodes(visit),
        "has_samples": visit.stores.samples is not None,
        "agents": agents,
        "silent": silent_agents(visit, [one.node for one in agents]),
        "samples": _samples(visit),
        "feeds": _records(visit) if reads and reachable else [],
        "documents": _documents(visit) if reads and reachable else [],
        "sees_sources": sees_sources(visit),
        "collectors": collectors(visit) if reachable else [],
        "conflicts": conflicts(visit) if reachable else None,
        "behind": behind(visit) if reachable and reads else None,
        "archive": archive(visit) if reachable and reads else None,
        "letters": _letters(visit) if administers and reachable else [],
        "fates": _fates(visit) if administers else [],
        "site_days": SITE_DAYS,
    }


def _database(visit: Visit) -> Database:
    def asked() -> Database:
        began = perf_counter()
        try:
            visit.stores.records.ping()
        except StoreUnavailable as fault:
            return Database(None, str(fault))
        return Database((perf_counter() - began) * 1000)

    return visit.kept.ask("database", 2.0, asked)


def _samples(visit: Visit) -> object:
    samples = visit.stores.samples
    if samples is None or not sees_nodes(visit):
        return None
    return visit.kept.ask("samples", 10.0, samples.state)


def _records(visit: Visit) -> list[Feed]:
    """The newest record of every site, of those that ended lately."""
    bound = Bound(Op.GTE, microseconds(midnight(visit.now) - timedelta(days=SITE_DAYS)))
    where = Question(visit.asker.scope, stop_time=(bound,))
    measures = (COUNT, Extreme(Column.STOP_TIME, latest=True))
    question = TotalQuestion(where, (MetaDimension("site_id"),), measures)
    totals = visit.kept.ask(("feeds", question), 60.0, lambda: visit.stores.records.totals(question))
    return [
        Feed(str(total.key[0] or "no site"), from_microseconds(int(last.value)), int(count.value or 0))
        for total in totals
        for count, last in [total.measured]
        if last.value is not None
    ]


def _documents(visit: Visit) -> list[Feed]:
    found: dict[str, datetime] = {}
    for one in newest(visit, _KINDS):
        name = " · ".join(filter(None, [one.cluster, one.kind, one.node]))
        found[name] = max(found.get(name, one.observed), one.observed)
    return [Feed(name, moment) for name, moment in sorted(found.items())]


def _letters(visit: Visit) -> Sequence[DeadLetter]:
    return visit.kept.ask("letters", 4.0, lambda: visit.stores.records.letters(LETTERS_SHOWN))


def _fates(visit: Visit) -> list[tuple[str, int]]:
    """What became of the records that were sent to this server process since it was started."""
    told = visit.stores.meter.fates()
    return [(fate.value, told[fate]) for fate in Fate if told[fate]]


def sees(asker: Asker) -> bool:
    """Those who read something, administer or watch."""
    return asker.may(Role.READ) or asker.may(Role.ADMINISTER) or asker.may(Role.MONITOR)


PAGE = Page("/health", "Health", "health.html", show, sees=sees, place=90)
