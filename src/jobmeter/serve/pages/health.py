"""`/health`: whether everything that measures, sends and keeps is well, and what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from time import perf_counter

from msgspec import Struct

from jobmeter.contract import StoreUnavailable
from jobmeter.model.access import Asker, Role
from jobmeter.model.letter import DeadLetter
from jobmeter.query.nodes import AGENT_METRICS, agent_states
from jobmeter.serve.meter import Fate
from jobmeter.serve.view.search import newest_of
from jobmeter.serve.view.selection import FACETS, midnight
from jobmeter.serve.view.usage import keys_text
from jobmeter.serve.web.account import summed
from jobmeter.serve.web.figures import iso
from jobmeter.serve.web.page import Page, Values, Visit
from jobmeter.serve.web.present import lately, newest, sees_nodes
from jobmeter.serve.web.upkeep import archive, behind, collectors, conflicts, sees_sources, silent_agents

LETTERS_SHOWN = 20
SITES_MAX = 50
"""Of more sites the newest record is not looked for."""
FEEDS_SECONDS = 60.0
_KINDS = ("ssh", "jupyter-ml", "jupyter-coffea", "condorqueue", "condorjob", "CPU", "MEM", "NETWORK", "DISK")


class Database(Struct, frozen=True):
    """Whether the database answers, and how fast; else what it said."""

    milliseconds: float | None
    fault: str | None = None


class Feed(Struct, frozen=True):
    """Where records or documents come from, and when the newest was true; None where nobody looked."""

    name: str
    newest: datetime | None
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
        "records_since": _last_month(visit.now),
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
    """How many records every site has since the last month began, and the newest.

    Whole months are counted without a look at records, and the newest of a site is the first that an index gives.
    """
    since = _last_month(visit.now)
    groups = summed(visit, f"sum=count&group_by={keys_text('site')}&stop_time[gte]={iso(since)}", FEEDS_SECONDS)
    counts: dict[str | None, int] = {}
    under: dict[str, set[str]] = {}
    for parts, values in groups:
        key, name = next(
            ((key, str(part)) for key, part in zip(FACETS["site"], parts, strict=True) if part), ("", None)
        )
        counts[name] = counts.get(name, 0) + int(values[0] or 0)
        if name is not None:
            under.setdefault(name, set()).add(key)
    scope, records = visit.asker.scope, visit.stores.records

    def look() -> dict[str, datetime | None]:
        return {name: newest_of(records, scope, under[name], name, since) for name in sorted(under)[:SITES_MAX]}

    ended = visit.kept.ask(("newest of sites", scope, since), FEEDS_SECONDS, look)
    return [
        Feed(name or "no site named", ended.get(name or ""), counts[name])
        for name in sorted(counts, key=lambda name: name or "")
    ]


def _last_month(now: datetime) -> datetime:
    """The begin of the month before this one."""
    return (midnight(now).replace(day=1) - timedelta(days=1)).replace(day=1)


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
