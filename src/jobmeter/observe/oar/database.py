"""Asking OAR's own database, PostgreSQL, by psql: each job is a line of JSON. OAR 2 and 3 have the same tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from jobmeter.contract import Refused, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host
from jobmeter.observe.oar.job import FIELDS, Job, Resource, whole_number
from jobmeter.observe.oar.settings import Settings
from jobmeter.observe.oar.where import ended_in
from jobmeter.observe.shape.values import Unreadable

_STOP_TIME = "coalesce(stop_time, 0)"
"""In OAR 3 the time of a job that has not ended may be null, in OAR 2 it is 0."""


class Database:
    """The accounting of an OAR cluster, as it stands in its tables.

    Raises SourceUnreadable when psql does not answer, and OutputTooLarge when it answers too much.
    """

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host

    def ended(self, period: Period) -> list[Job | Refused]:
        """The jobs that ended in `period`, and those that were given up without having begun."""
        flags = ["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1"]
        question = statement(period, self._settings.core_property)
        try:
            output = self._host.run(
                [self._settings.psql_path, *flags, "-d", self._settings.database, "-c", question],
                environment=_environment(self._host.environment, self._settings.password_file),
                timeout_seconds=self._settings.timeout_seconds,
                output_max_bytes=self._settings.output_bytes,
            )
        except (CommandMissing, CommandFailed, CommandTimedOut) as fault:
            raise SourceUnreadable(str(fault)) from None
        return list(parse(output.text))


def statement(period: Period, core_property: str) -> str:
    """The question. A resource is given as [type, host, core]; `core_property` may not exist. It is a plain word."""
    fields = ", ".join(sorted(FIELDS | {"exit_code"}))
    return f"""
SELECT row_to_json(found) FROM (
  SELECT {fields}, m.moldable_walltime AS walltime,
    (SELECT json_agg(t.type ORDER BY t.job_type_id) FROM job_types t WHERE t.job_id = j.job_id) AS types,
    (SELECT json_agg(DISTINCT e.type) FROM event_logs e WHERE e.job_id = j.job_id) AS events,
    (SELECT coalesce(sum(l.date_stop - l.date_start), 0) FROM job_state_logs l WHERE l.job_id = j.job_id
      AND l.job_state IN ('Suspended', 'Resuming') AND l.date_stop > l.date_start) AS suspended,
    (SELECT json_agg(json_build_array(r.type, r.network_address, to_json(r) -> '{core_property}'))
      FROM assigned_resources a JOIN resources r USING (resource_id)
      WHERE a.moldable_job_id = j.assigned_moldable_job) AS resources
  FROM jobs j LEFT JOIN moldable_job_descriptions m ON m.moldable_id = j.assigned_moldable_job
  WHERE {ended_in(period, _STOP_TIME)}
) found"""  # noqa: S608 - whole numbers, and a word that the settings have checked


def parse(text: str) -> Iterator[Job | Refused]:
    """The jobs of psql's output. A line that is no job is refused and the rest goes on."""
    for line in text.split("\n"):
        if line.strip():
            yield _job(line)


def _job(line: str) -> Job | Refused:
    try:
        entry = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as fault:
        return Refused(line, f"is no JSON: {fault}")
    if not isinstance(entry, dict):
        return Refused(line, "is not a job's JSON object")
    try:
        return Job(
            fields=entry,
            types=tuple(_texts(entry, "types")),
            events=frozenset(_texts(entry, "events")),
            resources=tuple(_resource(each) for each in _list(entry, "resources")),
            walltime_seconds=whole_number(entry.get("walltime"), "walltime"),
            suspended_seconds=whole_number(entry.get("suspended"), "suspended"),
            raw=line,
        )
    except Unreadable as fault:
        return Refused(line, str(fault))


def _list(entry: Mapping[str, Any], name: str) -> list[Any]:
    value = entry.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(f"{name} is no list")
    return value


def _texts(entry: Mapping[str, Any], name: str) -> Iterator[str]:
    return (value for value in _list(entry, name) if isinstance(value, str))


def _resource(entry: Any) -> Resource:
    if not isinstance(entry, list) or len(entry) != 3 or not all(isinstance(text, str | None) for text in entry[:2]):
        raise Unreadable("a resource is not its type, host and core")
    kind, host, core = entry
    return Resource(type=kind or "", host=host or "", core=str(core) if isinstance(core, int | str) else "")


def _environment(given: Mapping[str, str], password_file: str | None) -> dict[str, str]:
    """The collector's own environment, with what matters fixed. The session can write nothing."""
    kept = {name: value for name, value in given.items() if not name.startswith("LC_")}
    fixed = {"LC_ALL": "C.UTF-8", "PGCLIENTENCODING": "UTF8", "PGOPTIONS": "-c default_transaction_read_only=on"}
    return {**kept, **fixed, **({} if password_file is None else {"PGPASSFILE": password_file})}
