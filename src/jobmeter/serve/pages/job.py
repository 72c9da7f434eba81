"""`/job/{record_id}`: one job: what its record says, what became of it, what it used, and how, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import structs

from jobmeter.model.access import Role
from jobmeter.model.record import Record, name_fault
from jobmeter.model.series import SampleTable
from jobmeter.model.summary import JobSummary
from jobmeter.model.version import ChangeKind
from jobmeter.report.why.facts import Facts, facts_of
from jobmeter.report.why.job import explain
from jobmeter.serve.samples import Visible
from jobmeter.serve.view.amounts import amounts_of, summed
from jobmeter.serve.view.curves import OF_JOBS, drawn
from jobmeter.serve.view.past import past_of, visible
from jobmeter.serve.view.rows import records_of
from jobmeter.serve.view.shares import Share, commands_of, nodes_of
from jobmeter.serve.view.traces import Trace, tables_of, trace_of
from jobmeter.serve.web.page import NotThere, Page, Values, Visit

_NOT_THERE = "There is no record with this id that you may see."


def show(visit: Visit) -> Values:
    """The job."""
    visit.given.require_known()
    record_id = visit.named
    if name_fault(record_id) is not None:
        raise NotThere(_NOT_THERE)
    records, rows = visit.stores.records, visit.asker.scope
    body = records.one(record_id, rows)
    versions = visible(records.versions(record_id), rows)
    if body is None and not (versions and versions[-1].ended is ChangeKind.WITHDRAWN):
        raise NotThere(_NOT_THERE)
    (record,) = records_of([versions[-1].body if body is None else body])
    summary = None if visit.stores.summaries is None else visit.stores.summaries.of_record(record_id)
    facts = facts_of(record, summary)
    trace, tables = _tables(visit, record, summary)
    so_far = _so_far(facts, nodes_of(tables), visit.now) if record.stop_time is None else facts
    return {
        "title": record_id,
        "record": record,
        "withdrawn": body is None,
        "facts": so_far,
        "statements": explain(facts).statements[1:],
        "amounts": amounts_of(record.components),
        "past": past_of(versions, body),
        "summary": summary,
        "summed": () if summary is None else summed(summary.metrics),
        "running": record.stop_time is None,
        **_traces(visit, trace, tables, so_far.cpu_seconds),
    }


def _tables(visit: Visit, record: Record, summary: JobSummary | None) -> tuple[Trace | None, list[SampleTable]]:
    """Where the job's samples are, and those that the visitor may see."""
    trace = trace_of(record.record_id, record.start_time, record.stop_time or visit.now, summary, visit.stores.rules)
    if trace is None or visit.stores.samples is None:
        return trace, []
    seen = Visible(visit.stores.records, visit.stores.rules, visit.asker)
    return trace, list(tables_of(visit.stores.samples, trace, seen, nodes=visit.asker.may_everywhere(Role.READ)))


def _so_far(facts: Facts, nodes: Sequence[Share], now: datetime) -> Facts:
    """What a job that runs has used until now, as far as samples tell."""
    used = sum(node.cpu_seconds for node in nodes) if nodes else None
    return structs.replace(facts, wall_seconds=max(0.0, (now - facts.start).total_seconds()), cpu_seconds=used)


def _traces(
    visit: Visit, trace: Trace | None, tables: list[SampleTable], cpu_seconds: float | None
) -> Mapping[str, object]:
    return {
        "trace": trace,
        "samples": "" if trace is None else trace.address(nodes=visit.asker.may_everywhere(Role.READ)),
        "pictures": drawn(tables, OF_JOBS),
        "nodes": nodes_of(tables),
        "commands": commands_of(tables, cpu_seconds),
        "kept": visit.stores.samples is not None,
    }


PAGE = Page("/job/{record_id}", "Job", "job.html", show, under="/jobs")
