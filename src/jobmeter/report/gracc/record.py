"""A record as a raw usage record of GRACC, in JSON.

Facts: the document of GRACC on raw records, whose schema follows the OGF usage record (GFD.98). Times are ISO 8601,
spans are seconds as decimal numbers. What our record does not have is left out.
"""

from __future__ import annotations

from datetime import UTC

from msgspec import Struct

from jobmeter.model.record import Record
from jobmeter.report.why.facts import facts_of
from jobmeter.report.why.names import Names

Value = str | float | int


class Told(Struct, frozen=True):
    """What is the same in all records: the probe's name, and the virtual organisation where a record has none."""

    probe: str
    organisation: str | None = None
    organisation_key: str = "voms"


def usage_record(record: Record, told: Told, names: Names | None = None) -> dict[str, Value] | None:
    """The usage record; None for a job that has not ended, of which GRACC knows nothing."""
    facts = facts_of(record, None, names)
    if facts.stop is None or facts.wall_seconds is None:
        return None
    meta = record.meta or {}
    organisation = next(iter(meta.get(told.organisation_key, ())), None) or told.organisation or facts.group
    reported = None if organisation is None else organisation.strip("/").partition("/")[0] or organisation
    found: dict[str, Value | None] = {
        "type": "JobUsageRecord",
        "ResourceType": "Batch",
        "RecordId": record.record_id,
        "GlobalJobId": record.record_id,
        "LocalJobId": next(iter(meta.get("job_id", ())), None),
        "ProbeName": told.probe,
        "SiteName": facts.site,
        "LocalUserId": facts.user,
        "CommonName": facts.user,
        "VOName": organisation,
        "ReportableVOName": reported,
        "ProjectName": facts.group,
        "StartTime": _time(record, stop=False),
        "EndTime": _time(record, stop=True),
        "WallDuration": float(facts.wall_seconds),
        "CpuDuration": facts.cpu_seconds,
        "Processors": facts.cores,
        "NodeCount": facts.nodes,
        "Njobs": 1,
    }
    return {name: value for name, value in found.items() if value is not None}


def _time(record: Record, *, stop: bool) -> str:
    moment = record.stop_time if stop and record.stop_time is not None else record.start_time
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
