"""`/`: what is going on at this moment."""

from __future__ import annotations

from jobmeter.contract import StoreUnavailable
from jobmeter.model.access import Role
from jobmeter.serve.view.selection import midnight
from jobmeter.serve.view.sums import Sums
from jobmeter.serve.web.account import summed
from jobmeter.serve.web.figures import iso
from jobmeter.serve.web.page import Page, Values, Visit, anyone
from jobmeter.serve.web.present import nodes_now, people_now, queues_now, sees_nodes

NODES_SHOWN = 12
KEPT_SECONDS = 20.0


def show(visit: Visit) -> Values:
    """What of all this the visitor may see. A database that is away takes its part along, and nothing else."""
    visit.given.require_known()
    nodes = nodes_now(visit)
    values: dict[str, object] = {
        "now": visit.now,
        "reads": visit.asker.may(Role.READ),
        "sees_nodes": sees_nodes(visit),
        "has_samples": visit.stores.samples is not None,
        "nodes": sorted(nodes, key=lambda node: -(node.load or 0.0))[:NODES_SHOWN],
        "node_count": len(nodes),
        "sampled_jobs": len({job for node in nodes for job in node.jobs}),
        "watts": _sum([node.watts for node in nodes]),
        "queues": [],
        "people": None,
        "away": None,
        "all": None,
        "today": None,
        "month": None,
    }
    try:
        values |= _of_the_database(visit)
    except StoreUnavailable as fault:
        values["away"] = str(fault)
    return values


def _of_the_database(visit: Visit) -> Values:
    queues, people = queues_now(visit), people_now(visit)
    return {
        "queues": queues,
        "running": _sum([queue.running for queue in queues]),
        "idle": _sum([queue.idle for queue in queues]),
        "people": len({user for one in people for user in one.users}) if people else None,
        **(_records(visit) if visit.asker.may(Role.READ) else {}),
    }


def _records(visit: Visit) -> dict[str, Sums]:
    """The jobs that ended today are only counted: each has to be read for its cores, while more of them come in."""
    today = midnight(visit.now)
    return {
        "all": _ended(visit, "sum=count"),
        "today": _ended(visit, f"sum=count&stop_time[gte]={iso(today)}"),
        "month": _ended(visit, f"sum=count,Cores*runtime&stop_time[gte]={iso(today.replace(day=1))}"),
    }


def _ended(visit: Visit, question: str) -> Sums:
    groups = summed(visit, question, KEPT_SECONDS)
    if not groups:
        return Sums()
    jobs, *core_seconds = groups[0][1]
    return Sums(int(jobs or 0), core_seconds=core_seconds[0] if core_seconds else None)


def _sum(values: list[int | None] | list[float | None]) -> float | None:
    """The sum of those that are known; None when none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


PAGE = Page("/", "Now", "now.html", show, sees=anyone, place=10)
