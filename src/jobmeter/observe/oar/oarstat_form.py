"""The documents that `oarstat -J -f` and `oarnodes -J` print, as OAR 2.5 and 2.6 have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from jobmeter.contract import Refused
from jobmeter.observe.oar.job import Job, Resource, whole_number
from jobmeter.observe.oar.text import mended
from jobmeter.observe.shape.values import Unreadable

_FIELDS = {
    "Job_Id": "job_id",
    "name": "job_name",
    "owner": "job_user",
    "queue": "queue_name",
    "jobType": "job_type",
    "launchingDirectory": "launching_directory",
    "submissionTime": "submission_time",
    "startTime": "start_time",
    "stopTime": "stop_time",
}
"""What oarstat calls otherwise than OAR's own table does."""

_UNSAID = Resource(type="default", host="", core="")
"""A resource that oarnodes does not list."""


class NoDocument(ValueError):  # noqa: N818 - the name says the fact
    """What was printed is not the JSON document at all."""


def parse(text: str, resources: Mapping[str, Resource]) -> Iterator[Job | Refused]:
    """The jobs of a document of oarstat, read as Latin-1. An empty text is no job. Raises NoDocument.

    `resources` are those of `parse_resources`. An entry that is no job is refused and the rest goes on.
    """
    for key, entry in _entries(text).items():
        yield _job(key, entry, resources)


def parse_resources(text: str, core_property: str) -> dict[str, Resource]:
    """The resources in a document of oarnodes, read as Latin-1, by their ids. Raises NoDocument."""
    return {key: _resource(entry, core_property) for key, entry in _entries(text).items() if isinstance(entry, dict)}


def _entries(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as fault:
        raise NoDocument(f"what was printed is no JSON: {fault}") from None
    if not isinstance(document, dict):
        raise NoDocument("what was printed is JSON, but no object of entries by their ids")
    return document


def _job(key: str, entry: Any, resources: Mapping[str, Resource]) -> Job | Refused:
    raw = mended(msgspec.json.encode(entry).decode())
    if not isinstance(entry, dict):
        return Refused(raw, "is not a job's JSON object")
    try:
        if str(whole_number(entry.get("Job_Id"), "Job_Id")) != key:
            return Refused(raw, f"stands under the id {key[:80]!r}, which is not its own")
        return Job(
            fields={_FIELDS.get(str(name), str(name)): value for name, value in entry.items()},
            types=tuple(kind for kind in _list(entry, "types") if isinstance(kind, str)),
            events=frozenset(_kinds(_list(entry, "events"))),
            resources=tuple(resources.get(str(number), _UNSAID) for number in _list(entry, "assigned_resources")),
            walltime_seconds=whole_number(entry.get("walltime"), "walltime"),
            suspended_seconds=None,
            raw=raw,
        )
    except Unreadable as fault:
        return Refused(raw, str(fault))


def _kinds(events: list[Any]) -> Iterator[str]:
    for event in events:
        if isinstance(event, dict) and isinstance(kind := event.get("type"), str):
            yield kind


def _list(entry: Mapping[str, Any], name: str) -> list[Any]:
    value = entry.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(f"{name} is no list")
    return value


def _resource(entry: Mapping[str, Any], core_property: str) -> Resource:
    kind, host, core = (entry.get(name) for name in ("type", "network_address", core_property))
    return Resource(
        type=kind if isinstance(kind, str) else "default",
        host=mended(host) if isinstance(host, str) else "",
        core=str(core) if isinstance(core, int | str) else "",
    )
