"""The catalogue entries of what Colmet's records hold: the units of its columns, as our metrics.

Colmet numbers what has no place of its own (zones of RAPL, events of perf, thermal zones), and only a file on the node
says which is which. Received from Colmet's own node, these stay numbers: `rapl_counter_1`.
"""

from __future__ import annotations

import re

from jobmeter.model.metric import Kind, Metric
from jobmeter.wire.colmet_columns import RECORDS, Column, Record, Rule

_PLACED = frozenset({Rule.SLOT, Rule.SLOT_STEP})
_UNITS = (
    (r"(taskstats|perf)_.*(delay_total|run_(real|virtual)_total)", "nanoseconds", Kind.COUNTER),
    (r"taskstats_ac_btime", "seconds", Kind.GAUGE),
    (r"taskstats_ac_etime", "microseconds", Kind.GAUGE),
    (r"taskstats_ac_[us]time(scaled)?", "microseconds", Kind.COUNTER),
    (r"taskstats_(core|virt)mem", "mebibyte-microseconds", Kind.COUNTER),
    (r"taskstats_((read|write)_char|(cancelled_write|read|write)_bytes)", "bytes", Kind.COUNTER),
    (r"taskstats_.*", "count", Kind.COUNTER),
    (r"procstats_uptime_.*", "seconds", Kind.COUNTER),
    (r"procstats_meminfo_hugepages_.*", "count", Kind.GAUGE),
    (r"procstats_meminfo_.*", "kibibytes", Kind.GAUGE),
    (r"procstats_vmstat_pgpg(in|out)", "kibibytes", Kind.COUNTER),
    (r"procstats_vmstat_.*", "count", Kind.COUNTER),
    (r"procstats_stat_cpu_.*", "centiseconds", Kind.COUNTER),
    (r"procstats_stat_procs_blocked|procstats_loadavg_.*", "count", Kind.GAUGE),
    (r"procstats_stat_.*", "count", Kind.COUNTER),
    (r"jobproc_(vm.*|rss.*)", "kibibytes", Kind.GAUGE),
    (r"jobproc_sysc.", "count", Kind.COUNTER),
    (r"jobproc_.*", "bytes", Kind.COUNTER),
    (r"nvidia_power", "milliwatts", Kind.GAUGE),
    (r"nvidia_temperature", "degrees_celsius", Kind.GAUGE),
    (r"nvidia_utilization_.*", "percent", Kind.GAUGE),
    (r"nvidia_memory_.*", "bytes", Kind.GAUGE),
    (r"infiniband_port_..._bytes|infiniband_port_.*_data|lustre_.*_bytes", "bytes", Kind.COUNTER),
    (r"(infiniband|lustre)_.*", "count", Kind.COUNTER),
    (r"ipmi_power", "watts", Kind.GAUGE),
    (r"rapl_counter_.*", "microjoules", Kind.GAUGE),
    (r"perf_counter_.*", "count", Kind.GAUGE),
    (r"thermal_counter_.*", "degrees_celsius", Kind.GAUGE),
)
"""By name, the first that fits: unit and kind."""


def metric_of(record: Record, column: Column) -> str:
    """The name of the metric that a column received from Colmet's own node becomes."""
    return f"{record.source}_{column.name}" if column.rule in _PLACED else column.metric


def divided(column: Column) -> int:
    """By what a received column's unit differs from its metric's; a numbered one keeps Colmet's unit."""
    return 1 if column.rule in _PLACED else column.divide


def _entry(record: Record, column: Column) -> Metric:
    name = metric_of(record, column)
    unit, kind = next((unit, kind) for form, unit, kind in _UNITS if re.fullmatch(form, name))
    return Metric(name, unit, kind, f"{column.name} of Colmet's {record.name}.")


RECEIVED = {
    record.name: tuple(_entry(record, column) for column in record.columns if column.rule is not Rule.INVOLVED)
    for record in RECORDS
}
"""The entries of each class, in the order of its columns, without the list of jobs."""
