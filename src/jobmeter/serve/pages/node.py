"""`/nodes/{node}`: one node over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from jobmeter.model.record import microseconds
from jobmeter.model.series import SampleQuestion, SampleTable
from jobmeter.query.nodes import STATE_METRICS, node_states
from jobmeter.serve.web.figures import iso
from jobmeter.serve.web.page import NotThere, Page, Values, Visit
from jobmeter.serve.web.present import lately, sees_nodes

SPANS = {"1h": (1, "30s"), "6h": (6, "2m"), "24h": (24, "5m"), "7d": (168, "1h"), "30d": (720, "6h")}
"""What may be looked at: hours, and the step of the curves."""
TABLE_ROWS = 24


class Figure(Struct, frozen=True):
    """A picture: metrics with their labels, which of their forms, and what a value is multiplied by to be in `unit`."""

    title: str
    metrics: dict[str, str]
    form: str
    unit: str
    factor: float = 1.0

    @property
    def labels(self) -> str:
        """The labels as JSON, for the script that draws."""
        return msgspec.json.encode(self.metrics).decode()


FIGURES = (
    Figure("Load", {"procstats_loadavg_1min": "load of a minute"}, "mean", ""),
    Figure(
        "Memory",
        {"procstats_meminfo_memtotal": "in all", "procstats_meminfo_memavailable": "available"},
        "mean",
        "B",
        1024,
    ),
    Figure(
        "Processors in use, in cores",
        {
            "procstats_stat_cpu_user": "programs",
            "procstats_stat_cpu_system": "kernel",
            "procstats_stat_cpu_iowait": "waiting for disks",
        },
        "rate",
        "",
        0.01,
    ),
    Figure("Power of the node", {"ipmi_power": "node"}, "mean", "W"),
    Figure("Power of processors", {"rapl_energy": ""}, "rate", "W", 1e-6),
    Figure("Power of graphics processors", {"nvidia_power": ""}, "mean", "W", 1e-3),
    Figure("Use of graphics processors", {"nvidia_utilization_gpu": ""}, "mean", "%"),
    Figure("Network", {"network_rx_bytes": "received", "network_tx_bytes": "sent"}, "rate", "B/s"),
    Figure("Disks", {"disk_read_bytes": "read", "disk_write_bytes": "written"}, "rate", "B/s"),
    Figure("Temperature", {"thermal_temperature": ""}, "mean", "°C", 1e-3),
)


class Drawn(Struct, frozen=True):
    """A figure with samples: where its numbers are asked for, and some of them as a table."""

    figure: Figure
    query: str
    heads: list[str]
    rows: list[tuple[datetime, list[float | None]]]


def show(visit: Visit) -> Values:
    """The node's state and its curves over the span that is chosen."""
    chosen = visit.given.choice("span", ("24h", *(name for name in SPANS if name != "24h")))
    visit.given.require_known()
    samples = visit.stores.samples
    if samples is None or not sees_nodes(visit):
        raise NotThere("There is no such node.")
    hours, step = SPANS[chosen]
    since = visit.now - timedelta(hours=hours)
    metrics = tuple(dict.fromkeys(name for figure in FIGURES for name in figure.metrics))
    question = SampleQuestion(
        node=visit.named,
        node_only=True,
        metrics=metrics,
        from_ns=microseconds(since) * 1000,
        step_ns=hours * 3600 * 10**9 // TABLE_ROWS,
    )
    key = ("node", visit.named, chosen)
    tables = visit.kept.ask(key, 15.0, lambda: list(samples.tables(question)))
    states = node_states(lately(visit, STATE_METRICS, visit.named))
    if not tables and not states:
        raise NotThere(f"Nothing was told of a node {visit.named!r} in this time.")
    return {
        "title": visit.named,
        "node": visit.named,
        "now": visit.now,
        "state": states[0] if states else None,
        "span": chosen,
        "spans": list(SPANS),
        "drawn": [drawn for figure in FIGURES if (drawn := _drawn(figure, tables, visit.named, since, step)).rows],
    }


def _drawn(figure: Figure, tables: list[SampleTable], node: str, since: datetime, step: str) -> Drawn:
    heads: list[str] = []
    cells: dict[int, dict[int, float | None]] = {}
    for table in tables:
        for column in table.columns:
            if column.metric.name not in figure.metrics or column.form != figure.form:
                continue
            heads.append(" ".join(filter(None, [figure.metrics[column.metric.name], table.series.instance])))
            for time_ns, value in zip(table.times_ns, column.values, strict=True):
                told = None if value is None else value * figure.factor
                cells.setdefault(time_ns, {})[len(heads) - 1] = told
    rows = [
        (datetime.fromtimestamp(time_ns // 10**9, UTC), [cells[time_ns].get(place) for place in range(len(heads))])
        for time_ns in sorted(cells, reverse=True)
    ]
    asked = {"node": node, "node_only": "true", "metric": ",".join(figure.metrics), "from": iso(since), "step": step}
    return Drawn(figure, urlencode(asked), heads, rows)


PAGE = Page("/nodes/{node}", "Node", "node.html", show, under="/nodes")
