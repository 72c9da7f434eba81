"""`/job/{record_id}`: one job: what its record says, what became of it, what it used, and how, over time."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from jobmeter.model.access import Role
from jobmeter.model.record import Record, name_fault
from jobmeter.model.summary import JobSummary
from jobmeter.model.version import ChangeKind
from jobmeter.report.why.facts import facts_of
from jobmeter.report.why.job import explain
from jobmeter.serve.samples import Visible
from jobmeter.serve.view.amounts import amounts_of, summed
from jobmeter.serve.view.curves import drawn
from jobmeter.serve.view.past import past_of, visible
from jobmeter.serve.view.rows import records_of
from jobmeter.serve.view.shares import commands_of, nodes_of
from jobmeter.serve.view.traces import tables_of, trace_of
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
    return {
        "title": record_id,
        "record": record,
        "withdrawn": body is None,
        "facts": facts,
        "statements": explain(facts).statements[1:],
        "amounts": amounts_of(record.components),
        "past": past_of(versions, body),
        "summary": summary,
        "summed": () if summary is None else summed(summary.metrics),
        "quoted": quote(record_id, safe=""),
        **_traces(visit, record, summary, facts.cpu_seconds),
    }


def _traces(
    visit: Visit, record: Record, summary: JobSummary | None, cpu_seconds: float | None
) -> Mapping[str, object]:
    nodes = visit.asker.may_everywhere(Role.READ)
    trace = trace_of(record.record_id, record.start_time, record.stop_time or visit.now, summary, visit.stores.rules)
    found = []
    if trace is not None and visit.stores.samples is not None:
        seen = Visible(visit.stores.records, visit.stores.rules, visit.asker)
        found = list(tables_of(visit.stores.samples, trace, seen, nodes=nodes))
    return {
        "trace": trace,
        "samples": "" if trace is None else trace.address(nodes=nodes),
        "pictures": drawn(found),
        "nodes": nodes_of(found),
        "commands": commands_of(found, cpu_seconds),
        "running": record.stop_time is None,
        "kept": visit.stores.samples is not None,
    }


PAGE = Page("/job/{record_id}", "Job", "job.html", show, under="/jobs")
