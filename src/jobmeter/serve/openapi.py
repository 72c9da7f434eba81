"""The description of the interface in OpenAPI 3.1, from the table of operations and the msgspec types they name."""

from __future__ import annotations

from typing import Any

import msgspec

from jobmeter import __version__
from jobmeter.serve.operation import Operation, Reply
from jobmeter.serve.operations import OPEN_PATHS, OPERATIONS, RecordUpdate, replies_of

_WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0}
_NUMBER: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1e30}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 256}
_NAMES: dict[str, Any] = {"type": "array", "items": _NAME}
_COLUMN: dict[str, Any] = {"enum": ["start_time", "stop_time", "runtime", "record_id"]}


def _object(keys: tuple[str, ...], value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict.fromkeys(keys, value), "additionalProperties": False}


def _query(name: str, schema: dict[str, Any], says: str) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": "query", "schema": schema, "description": says}
    if schema.get("type") == "object":
        parameter |= {"style": "deepObject", "explode": True}
    return parameter


_SCHEMES: dict[str, Any] = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token made by `jobmeter token create`."},
    "certificate": {"type": "mutualTLS", "description": "A client certificate that the settings of the server name."},
}
"""Ways to say who asks. Where the server asks nobody, neither is needed."""
_OPS = ("gt", "gte", "lt", "lte", "equals")
_PARAMETERS: dict[str, dict[str, Any]] = {
    "id": {"name": "record_id", "in": "path", "required": True, "schema": _NAME},
    "sample.manager": _query("manager", _NAME, "Batch system of the job."),
    "sample.cluster": _query("cluster", {"type": "string"}, "Cluster of the job."),
    "sample.job": _query("job", _NAME, "Id of the job, as the batch system prints it."),
    "sample.run": _query("run", {"type": "integer", "minimum": 0, "maximum": 999_999_999}, "Which run of it."),
    "sample.node": _query("node", _NAME, "Name of a node."),
    "sample.source": _query("source", _NAME, "What took the samples."),
    "sample.metric": _query("metric", _NAME, "Names of metrics, with commas between."),
    "sample.from": _query("from", _TIME, "Earliest time; also seconds since 1970."),
    "sample.to": _query("to", _TIME, "Times before this one; also seconds since 1970."),
    "sample.step": _query(
        "step", {"type": "string", "pattern": "^[1-9][0-9]{0,5}(s|m|h)$"}, "Periods in place of samples."
    ),
    "sample.involving": _query("involving", {"type": "boolean"}, "Also samples of the nodes that the job was on."),
    "sample.node_only": _query("node_only", {"type": "boolean"}, "Only samples of nodes."),
    "conflict": {"name": "number", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}},
    "conflict.after": _query("after", {"type": "integer", "minimum": 0, "maximum": 999_999_999}, "Numbers above it."),
    "conflict.state": _query("state", {"enum": ["open", "decided"]}, "Which; open by default."),
    "letters": _query("limit", {"type": "integer", "minimum": 1, "maximum": 100}, "How many; 20 by default."),
    "first_day": _query(
        "since", {"type": "string", "format": "date"}, "The first day; 31 days before until by default."
    ),
    "day_behind": _query(
        "until", {"type": "string", "format": "date"}, "The day behind the last; tomorrow by default."
    ),
    "source": _query("source", {"type": "string"}, "This job source only."),
    "record_id": _query("record_id", _NAME, "The record with this id."),
    "start_time": _query("start_time", _object(_OPS, _TIME), "start_time[gte]=2024-01-31T12:00:00Z"),
    "stop_time": _query("stop_time", _object(_OPS, _TIME), "stop_time[lt]=2024-02-01T00:00:00Z"),
    "runtime": _query("runtime", _object(_OPS, _WHOLE), "Whole seconds: runtime[gt]=0"),
    "meta": _query(
        "meta",
        {"type": "object", "additionalProperties": _object(("c", "dnc"), _NAMES)},
        "meta[site_id][c][0]=A: the list under the key holds the value; [dnc]: it does not.",
    ),
    "component": _query(
        "component",
        {"type": "object", "additionalProperties": _object(_OPS, _WHOLE)},
        "component[Cores][gte]=8: some component of this name has such an amount.",
    ),
    "score": _query(
        "score",
        {"type": "object", "additionalProperties": _object(_OPS, _NUMBER)},
        "score[HEPSPEC23][gte]=10.5: some score of this name, of any component, has such a value.",
    ),
    "as_of": _query("as_of", _TIME, "As it was stored at this instant: 2024-02-01T00:00:00Z"),
    "group_by": _query("group_by", {"type": "string"}, "group_by=site_id,month: a group per value of each dimension."),
    "sum": _query("sum", {"type": "string"}, "sum=Cores*runtime,Cores*HEPSPEC23*runtime,count: what is summed."),
    "min": _query("min", {"enum": ["start_time", "stop_time"]}, "The earliest such time of each group."),
    "max": _query("max", {"enum": ["start_time", "stop_time"]}, "The latest such time of each group."),
    "sort_by": _query("sort_by", _object(("asc", "desc"), _COLUMN), "sort_by[desc]=stop_time"),
    "limit": _query("limit", _WHOLE, "At most so many records."),
    "kind": _query("kind", {"type": "string"}, "Documents of this kind."),
    "cluster": _query("cluster", {"type": "string"}, "Of this cluster only."),
    "login_node": _query("login_node", {"type": "string"}, "Of this host only."),
    "queue": _query("queue", {"type": "string"}, "This queue only."),
    "since": _query("since", {"type": "string"}, "From then on: a day, or a moment with a zone."),
    "until": _query("until", {"type": "string"}, "Before then; by default, now."),
    "before": _query("before", {"type": "integer", "minimum": 1}, "Documents with smaller numbers."),
    "documents_limit": _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "How many; 100 by default."),
    "by": _query("by", {"enum": ["day", "week", "month"]}, "The span in which people are counted."),
    "step_seconds": _query("step_seconds", {"type": "integer", "minimum": 1}, "Length of a step; an hour by default."),
    "cursor": _query("cursor", {"type": "string"}, "Where the page begins, as the page before told it."),
    "month.from": _query("from", {"type": "string"}, "The first month, as 2026-01."),
    "month.to": _query("to", {"type": "string"}, "The last month, as 2026-01."),
    "format": _query(
        "format",
        {"type": "string", "enum": ["json", "ndjson", "csv", "parquet"]},
        "The form of the answer, in place of the header Accept: for links.",
    ),
    "format.csv": _query("format", {"type": "string", "enum": ["json", "csv"]}, "In place of the header Accept."),
    "format.samples": _query(
        "format", {"type": "string", "enum": ["json", "ndjson", "csv"]}, "In place of the header Accept."
    ),
    "columns": _query(
        "columns",
        {"type": "string"},
        "Of CSV, with commas between: record_id, start_time, stop_time, runtime, components, meta, meta.KEY, "
        "component.NAME, score.COMPONENT.NAME; or found: one for each key, component and score of the first records.",
    ),
}


def description() -> bytes:
    """The whole document."""
    types = [kind for one in OPERATIONS for kind in _types(one)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, by_type)
    components = {name: _loosened(name, schema) for name, schema in components.items()}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "jobmeter",
                "version": __version__,
                "description": "Job records of a compute facility. The paths without a version are AUDITOR's.",
                "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"token": []}, {"certificate": []}, {}],
            "paths": paths,
            "components": {"schemas": components, "securitySchemes": _SCHEMES},
        }
    )


def _types(operation: Operation) -> list[Any]:
    types = [kind for reply in replies_of(operation) for kind in reply.types]
    return types if operation.body is None else [operation.body, *types]


def _loosened(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """What the types alone do not tell: an update needs a stop time instead of a start time."""
    if name == RecordUpdate.__name__:
        schema = {**schema, "required": ["record_id", "components", "stop_time"]}
        schema["properties"] = {**schema["properties"], "stop_time": _TIME}
    return schema


def _operation(operation: Operation, by_type: dict[str, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if operation.parameters:
        described["parameters"] = [_PARAMETERS[name] for name in operation.parameters]
    if operation.body is not None:
        schema = by_type[repr(operation.body)]
        content = {
            kind.value: {"schema": schema if kind.value.endswith("/json") else {}} for kind in operation.body_kinds
        }
        described["requestBody"] = {"required": True, "content": content}
    described["responses"] = {str(reply.status): _response(reply, by_type) for reply in replies_of(operation)}
    if operation.path in OPEN_PATHS:
        described["security"] = []
    return described


def _response(reply: Reply, by_type: dict[str, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": reply.says}
    schemas = [by_type[repr(kind)] for kind in reply.types]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas} if schemas else {}
    if schemas or len(reply.kinds) > 1:
        described["content"] = {kind.value: {"schema": schema} for kind in reply.kinds}
    return described
