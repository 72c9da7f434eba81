"""The dashboards ask for what the outputs write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from jobmeter import registry
from jobmeter.model.metric import Metric
from jobmeter.wire.colmet import FORMATS, columns
from jobmeter.wire.colmet_metrics import RECEIVED
from jobmeter.wire.remote_write import PRESENCE, prometheus_name
from tests.guard.source import ROOT

FOLDER = ROOT / "packaging" / "grafana"


def dashboard(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return found


def metrics_in(value: object, depth: int = 0) -> Iterator[Metric]:
    """The catalogue entries among the constants of a module."""
    if isinstance(value, Metric):
        yield value
    elif isinstance(value, tuple | list | dict) and depth < 4:
        for item in value.values() if isinstance(value, dict) else value:
            yield from metrics_in(item, depth + 1)


def catalogue() -> list[Metric]:
    modules = [registry.module("observe.kernel", name) for name in registry.names("observe.kernel")]
    return [metric for module in modules for value in vars(module).values() for metric in metrics_in(value)]


def test_every_series_that_the_prometheus_dashboard_asks_for_is_written() -> None:
    written = {prometheus_name(metric) for metric in catalogue()} | {PRESENCE}
    text = json.dumps(dashboard("job-prometheus.json"))
    asked = set(re.findall(r"\bjobmeter_[a-z_]+", text))
    assert len(asked) > 8
    assert asked <= written


def test_every_field_that_the_elasticsearch_dashboard_asks_for_is_written() -> None:
    board = dashboard("job-elasticsearch.json")
    classes = {re.sub(r".*…", "", each["label"]): each["name"] for each in board["__inputs"]}
    by_source = {f"${{{name}}}": kind for kind, name in classes.items()}
    real = {name.lower(): set(columns(name)) for name in FORMATS}
    assert set(classes) <= set(real)
    for panel in board["panels"]:
        kind = by_source[panel["datasource"]["uid"]]
        for target in panel["targets"]:
            node_wide = "involved_jobs" in target["query"]
            assert not node_wide or "involved_jobs" in real[kind]
            fields = {metric["field"] for metric in target["metrics"] if metric["type"] in ("max", "sum")}
            assert fields
            assert fields <= real[kind]


def test_a_received_metric_has_the_unit_that_our_own_source_gives_it() -> None:
    own = {metric.name: metric for metric in catalogue()}
    both = [metric for metrics in RECEIVED.values() for metric in metrics if metric.name in own]
    assert len(both) > 50
    assert [(each.name, each.unit, each.kind) for each in both] == [
        (each.name, own[each.name].unit, own[each.name].kind) for each in both
    ]
