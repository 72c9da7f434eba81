"""Speaks for a real `pyauditor` client: a command per line on standard input, its outcome per line on standard output.

Runs as a program of its own, because the client may abort at the end of the interpreter; nobody looks at the exit
status. Usage: driver.py async|blocking|queued OPTIONS-AS-JSON, with the client's folder on PYTHONPATH and the name of
its module in PYAUDITOR: the same program drives the real one and ours.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
import warnings
from datetime import datetime
from typing import Any

pyauditor: Any = importlib.import_module(os.environ["PYAUDITOR"])

Json = dict[str, Any]


def write_record(record: Json) -> Any:
    """The client's record with the content of ours."""
    made = pyauditor.Record(record["record_id"], datetime.fromisoformat(record["start_time"]))
    if record.get("meta") is not None:
        meta = pyauditor.Meta()
        for key, values in record["meta"].items():
            meta.insert(key, values)
        made = made.with_meta(meta)
    for item in record.get("components", []):
        component = pyauditor.Component(item["name"], item["amount"])
        for score in item["scores"]:
            component = component.with_score(pyauditor.Score(score["name"], score["value"]))
        made = made.with_component(component)
    if record.get("stop_time") is not None:
        made = made.with_stop_time(datetime.fromisoformat(record["stop_time"]))
    return made


def read_record(record: Any) -> Json:
    """What the client understood, the times as its Python side gives them."""
    found: Json = json.loads(record.to_json())
    found["start_time"] = record.start_time.isoformat()
    found["stop_time"] = None if record.stop_time is None else record.stop_time.isoformat()
    found["runtime"] = record.runtime
    return found


def operator(bounds: Json, kind: str) -> Any:
    """The bounds of one field as an operator. Counts end at 255 there; beyond, the setter of runtimes serves."""
    made = pyauditor.Operator()
    for name, bound in bounds.items():
        if kind == "time":
            value = pyauditor.Value.set_datetime(datetime.fromisoformat(bound))
        elif kind == "count" and bound <= 255:
            value = pyauditor.Value.set_count(bound)
        else:
            value = pyauditor.Value.set_runtime(bound)
        made = getattr(made, name)(value)
    return made


def meta_operator(wanted: Json) -> Any:
    """Lists since 0.10, single strings before."""
    made = pyauditor.MetaOperator()
    for name, values in wanted.items():
        try:
            made = getattr(made, name)(values)
        except TypeError:
            (value,) = values
            made = getattr(made, name)(value)
    return made


def query_string(query: Json) -> str:
    """The query string that the client's builder makes."""
    made = pyauditor.QueryBuilder()
    if "record_id" in query:
        made = made.with_record_id(query["record_id"])
    if "start_time" in query:
        made = made.with_start_time(operator(query["start_time"], "time"))
    if "stop_time" in query:
        made = made.with_stop_time(operator(query["stop_time"], "time"))
    if "runtime" in query:
        made = made.with_runtime(operator(query["runtime"], "runtime"))
    if "meta" in query:
        metas = pyauditor.MetaQuery()
        for key, wanted in query["meta"].items():
            metas = metas.meta_operator(key, meta_operator(wanted))
        made = made.with_meta_query(metas)
    if "component" in query:
        components = pyauditor.ComponentQuery()
        for name, bounds in query["component"].items():
            components = components.component_operator(name, operator(bounds, "count"))
        made = made.with_component_query(components)
    if "sort_by" in query:
        direction, column = query["sort_by"]
        made = made.sort_by(getattr(pyauditor.SortBy(), direction)(column))
    if "limit" in query:
        made = made.limit(query["limit"])
    text: str = made.build()
    return text


async def done(result: Any) -> Any:
    """The result of a call, of either kind of client."""
    return await result if inspect.isawaitable(result) else result


async def obey(client: Any, command: Json) -> Any:
    """One command to the client; what it answered, as JSON."""
    match command["do"]:
        case "health_check" | "stop" as name:
            return await done(getattr(client, name)())
        case "add" | "update" as name:
            return await done(getattr(client, name)(write_record(command["record"])))
        case "bulk_insert":
            return await done(client.bulk_insert([write_record(record) for record in command["records"]]))
        case "get":
            return [read_record(record) for record in await done(client.get())]
        case "get_single_record":
            return read_record(await done(client.get_single_record(command["record_id"])))
        case "get_started_since" | "get_stopped_since" as name:
            since = datetime.fromisoformat(command["since"])
            return [read_record(record) for record in await done(getattr(client, name)(since))]
        case "query":
            text = command["text"] if "text" in command else query_string(command["query"])
            return [read_record(record) for record in await done(client.advanced_query(text))]
        case other:
            raise ValueError(other)


async def main(kind: str, options: Json) -> None:
    """Builds the client and obeys until the input ends."""
    builder = pyauditor.AuditorClientBuilder().address("127.0.0.1", options["port"]).timeout(20)
    if options.get("tls") is not None:
        builder = builder.address("localhost", options["port"]).with_tls(*options["tls"])
    if kind == "queued":
        builder = builder.send_interval(1).database_path(options["database_path"])
        client = await builder.build_queued()
    else:
        client = builder.build() if kind == "async" else builder.build_blocking()
    while line := await asyncio.to_thread(sys.stdin.readline):
        answer: Json
        try:
            answer = {"answer": await obey(client, json.loads(line))}
        except BaseException as fault:  # noqa: BLE001 - the client's panics are no Exception, and all are an outcome
            answer = {"fault": str(fault)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
