"""Calls whose outcomes tell one client library from another; prints them as JSON. The module is named by PYAUDITOR."""

from __future__ import annotations

import importlib
import json
import os
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

p: Any = importlib.import_module(os.environ["PYAUDITOR"])
T = datetime(2024, 1, 1, tzinfo=UTC)
FINE = datetime(2024, 1, 1, 0, 0, 0, 1500, tzinfo=UTC)
NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001 - that is the point


def outcome(call: Callable[[], Any]) -> list[str]:
    try:
        return ["value", repr(call())]
    except Exception as fault:  # noqa: BLE001 - any is an outcome
        kind = type(fault).__name__
        text = str(fault).partition("\n\nStack backtrace")[0]
        return [kind, text] if kind in {"RuntimeError", "ValueError"} else [kind]


def full() -> Any:
    meta = p.Meta().insert("b", ["x", "y"]).insert("a", [])
    component = p.Component("cpu", 4).with_score(p.Score("hs", 1.5)).with_score(p.Score("tiny", 1.05e-8))
    stop = datetime(2024, 1, 1, 0, 0, 5, 999999, tzinfo=UTC)
    return p.Record("rec/1 ü", FINE).with_meta(meta).with_component(component).with_stop_time(stop)


def returns_itself(record: Any) -> bool:
    return record.with_meta(p.Meta()) is record


def query(**parts: Any) -> str:
    made = p.QueryBuilder()
    for name, value in parts.items():
        made = getattr(made, name)(value)
    text: str = made.build()
    return text


def op(**bounds: Any) -> Any:
    made = p.Operator()
    for name, value in bounds.items():
        made = getattr(made, name)(value)
    return made


def metas(**lists: Any) -> Any:
    made = p.MetaOperator()
    for name, value in lists.items():
        made = getattr(made, name)(value)
    return made


V = p.Value
CALLS: dict[str, Callable[[], Any]] = {
    "naive": lambda: p.Record("a", NAIVE),
    "ZoneInfo": lambda: p.Record("a", T.replace(tzinfo=zoneinfo.ZoneInfo("UTC"))),
    "other zone": lambda: p.Record("a", T.replace(tzinfo=timezone(timedelta(hours=2)))),
    "zone of zero": lambda: p.Record("a", T.replace(tzinfo=timezone(timedelta(0)))).record_id,
    "text as time": lambda: p.Record("a", "2024"),
    "number as id": lambda: p.Record(1, T),
    "json": lambda: p.Record("a", FINE).to_json(),
    "json of all": lambda: full().to_json(),
    "json of milliseconds": lambda: p.Record("a", T.replace(microsecond=500000)).to_json(),
    "id": lambda: full().record_id,
    "start": lambda: full().start_time,
    "stop": lambda: full().stop_time,
    "no stop": lambda: p.Record("a", T).stop_time,
    "runtime": lambda: full().runtime,
    "no runtime": lambda: p.Record("a", T).runtime,
    "negative runtime": lambda: p.Record("a", T).with_stop_time(T - timedelta(seconds=5, microseconds=1)).runtime,
    "components": lambda: [c.name for c in full().components],
    "no components": lambda: p.Record("a", T).components,
    "no meta": lambda: p.Record("a", T).meta,
    "meta list": lambda: full().meta.get("b"),
    "meta empty list": lambda: full().meta.get("a"),
    "meta no list": lambda: full().meta.get("zz"),
    "meta insert text": lambda: p.Meta().insert("a", "xy"),
    "meta equal": lambda: p.Meta() == p.Meta(),
    "stop naive": lambda: p.Record("a", T).with_stop_time(NAIVE),
    "equal": lambda: full() == full(),
    "unequal": lambda: full() != p.Record("a", T),
    "equal to a number": lambda: full() == 1,
    "less": lambda: full() < full(),
    "hash": lambda: hash(full()),
    "set": lambda: setattr(full(), "record_id", "x"),
    "with returns itself": lambda: returns_itself(p.Record("a", T)),
    "amount": lambda: p.Component("cpu", 2**63 - 1).amount,
    "negative amount": lambda: p.Component("cpu", -1),
    "float amount": lambda: p.Component("cpu", 1.0),
    "large amount": lambda: p.Component("cpu", 2**63),
    "blank component": lambda: p.Component(" ", 1),
    "long component": lambda: p.Component("x" * 257, 1),
    "component of 256": lambda: len(p.Component("x" * 256, 1).name),
    "score": lambda: p.Score("hs", 1).value,
    "negative score": lambda: p.Score("hs", -1.0),
    "score of text": lambda: p.Score("hs", "1"),
    "scores nearly equal": lambda: p.Score("a", 1.0) == p.Score("a", 1.0 + 1e-9),
    "scores not equal": lambda: p.Score("a", 1.0) == p.Score("a", 1.0 + 1e-7),
    "value naive": lambda: V.set_datetime(NAIVE),
    "value negative": lambda: V.set_runtime(-1),
    "value large": lambda: V.set_runtime(2**64),
    "count large": lambda: V.set_count(256),
    "count negative": lambda: V.set_count(-1),
    "value made": V,
    "query": query,
    "query runtime": lambda: query(with_runtime=op(lte=V.set_runtime(2**64 - 1), gt=V.set_count(1))),
    "query replaced": lambda: query(with_runtime=op(gt=V.set_count(1)).gt(V.set_count(2))),
    "query start": lambda: query(with_start_time=op(gt=V.set_datetime(T.replace(microsecond=500000)))),
    "query stop": lambda: query(with_stop_time=op(equals=V.set_datetime(FINE), lt=V.set_datetime(T))),
    "query empty": lambda: query(with_start_time=op()),
    "query component": lambda: query(
        with_component_query=p.ComponentQuery().component_operator(
            "cpu cores", op(equals=V.set_count(255), gte=V.set_count(3))
        )
    ),
    "query meta": lambda: query(
        with_meta_query=p.MetaQuery().meta_operator(
            "grp[1]~*-._!", metas(contains=["it's", "ü~*-._!"], does_not_contain=["z +/%&=#"])
        )
    ),
    "meta of a string": lambda: query(with_meta_query=p.MetaQuery().meta_operator("g", metas(contains="x"))),
    "query meta of none": lambda: query(with_meta_query=p.MetaQuery().meta_operator("g", metas(contains=[]))),
    "query sort": lambda: query(sort_by=p.SortBy().descending("stop_time").ascending("record_id"), limit=4),
    "query sort unknown": lambda: query(sort_by=p.SortBy().descending("xx")),
    "query id": lambda: query(limit=0, with_record_id="rec/1 ü#?%&=+"),
    "query limit negative": lambda: query(limit=-1),
    "query all": lambda: query(
        limit=1,
        sort_by=p.SortBy().ascending("runtime"),
        with_meta_query=p.MetaQuery().meta_operator("a", metas(contains=["b"])),
        with_runtime=op(lt=V.set_count(5)),
        with_stop_time=op(lt=V.set_datetime(T)),
        with_start_time=op(gte=V.set_datetime(T)),
        with_record_id="x",
    ),
    "builder port": lambda: p.AuditorClientBuilder().address("h", 65536),
    "builder timeout": lambda: p.AuditorClientBuilder().timeout(1.5),
    "builder negative timeout": lambda: p.AuditorClientBuilder().timeout(-1).build_blocking(),
    "client made": p.AuditorClient,
}

print(json.dumps({name: outcome(call) for name, call in CALLS.items()}))  # noqa: T201
