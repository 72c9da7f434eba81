"""Colmet's records as its collector prints them for people: a head, a line for each counter, rounded, with its unit.

Source of the fact: what the collector of colmet 0.6.10 printed for records of every class. It sorts the lines by what
it calls the counters' meaning, not by their names, rounds every value, and calls some kilobytes and percents a count.
Such a text cannot be read back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from jobmeter.wire.colmet import ColmetRecord, Value, columns
from jobmeter.wire.colmet_columns import CPU_STATES, MEMINFO, TASKSTATS

_ORDER_OF_TASKSTATS = (
    "coremem",
    "virtmem",
    "ac_btime",
    "read_char",
    "write_char",
    "cpu_scaled_run_real_total",
    "cancelled_write_bytes",
    "ac_etime",
    "ac_majflt",
    "ac_minflt",
    "blkio_count",
    "cpu_count",
    "swapin_count",
    "nivcsw",
    "freepages_count",
    "read_bytes",
    "read_syscalls",
    "ac_stime",
    "ac_stimescaled",
    "blkio_delay_total",
    "cpu_delay_total",
    "cpu_run_real_total",
    "cpu_run_virtual_total",
    "freepages_delay_total",
    "swapin_delay_total",
    "ac_utime",
    "ac_utimescaled",
    "nvcsw",
    "write_bytes",
    "write_syscalls",
)
_STATES = tuple(f"stat_cpu_{state}" for state in (*CPU_STATES[1:], CPU_STATES[0]))
_ROUNDED_ABOVE = 10_000
_LARGER = ("", "K", "M", "G", "T")
_TIMES = ("n", "u", "m", "")
_MEBIBYTE_MICROSECOND = 2**20 / 1e6
_MISSING = -1


def lines_of(record: ColmetRecord) -> Iterator[str]:
    """The lines of a record. What is not known is -1, as Colmet has it."""
    units = _UNITS.get(record.kind, {})
    values = dict(zip(columns(record.kind), record.values, strict=True))
    pairs = [(name, units.get(name, _count)(_known(values[name], name))) for name in _order(record.kind)]
    return block(record.stamp_seconds, str(record.job), record.kind, record.host, pairs)


def block(stamp_seconds: int, job: str, kind: str, host: str, counters: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The lines of such a block: a head, the counters with their names set to the right, and an end."""
    yield f"{stamp_seconds}  Job({job})/ {kind} -> Host({host}) -> {{"
    width = max((len(name) for name, _ in counters), default=0)
    for name, value in counters:
        yield f"\t{name:>{width}} : {value}"
    yield "}"


def _known(value: Value, name: str) -> Value:
    return ("[]" if name == "involved_jobs" else _MISSING) if value is None else value


def _order(kind: str) -> Sequence[str]:
    if kind == "taskstats_default":
        return _ORDER_OF_TASKSTATS
    states = iter(_STATES)
    return [next(states) if name.startswith("stat_cpu_") else name for name in sorted(columns(kind))]


def _plain(value: Value) -> str:
    return str(value)


def _scaled(value: float, step: int, power: int = 0) -> str:
    while abs(value) > _ROUNDED_ABOVE and power < len(_LARGER) - 1:
        value /= step
        power += 1
    return f"{value:.0f}{_LARGER[power]}"


def _count(value: Value) -> str:
    return value if isinstance(value, str) else f"{_scaled(value or 0, 1000)} (count)"


def _bytes(value: Value) -> str:
    return f"{_scaled(_number(value), 1024)} (bytes)"


def _kibibytes(value: Value) -> str:
    return f"{_scaled(_number(value), 1024, 1)} (bytes)"


def _byte_seconds(value: Value) -> str:
    scaled = _scaled(_number(value) * _MEBIBYTE_MICROSECOND, 1024)
    return f"{scaled}{'' if scaled[-1].isalpha() else ' '} (bytes*seconds)"


def _time(value: Value, unit: int) -> str:
    number = _number(value)
    while abs(number) > 1000 and unit < len(_TIMES) - 1:
        number /= 1000
        unit += 1
    return f"{number:.0f}{_TIMES[unit]} (seconds)"


def _nanoseconds(value: Value) -> str:
    return _time(value, 0)


def _microseconds(value: Value) -> str:
    return _time(value, 1)


def _seconds(value: Value) -> str:
    return f"{value} (seconds)"


def _celsius(value: Value) -> str:
    return f"{value} (celsius)"


def _date(value: Value) -> str:
    try:
        return f"{datetime.fromtimestamp(_number(value)):%d/%m/%Y - %H:%M:%S}"  # noqa: DTZ006 - the reader's own time
    except (ValueError, OverflowError, OSError):  # no moment of any calendar
        return str(value)


def _number(value: Value) -> float:
    return value if isinstance(value, int | float) else _MISSING


_UNITS: Mapping[str, Mapping[str, Callable[[Value], str]]] = {
    "taskstats_default": {
        **{
            name: _nanoseconds for name in TASKSTATS if name.endswith(("_delay_total", "_real_total", "_virtual_total"))
        },
        **dict.fromkeys(("ac_etime", "ac_utime", "ac_stime", "ac_utimescaled", "ac_stimescaled"), _microseconds),
        **dict.fromkeys(("read_char", "write_char", "read_bytes", "write_bytes", "cancelled_write_bytes"), _bytes),
        "coremem": _byte_seconds,
        "virtmem": _byte_seconds,
        "ac_btime": _date,
    },
    "procstats_default": {
        **{f"meminfo_{key}": _kibibytes for key in MEMINFO if not key.startswith("hugepage")},
        **{name: _plain for name in columns("procstats_default") if name.startswith(("stat_", "loadavg_"))},
        "uptime_total": _seconds,
        "uptime_idle": _seconds,
    },
    "infinibandstats_default": dict.fromkeys(("portXmitData", "portRcvData"), _bytes),
    "lustrestats_default": dict.fromkeys(("lustre_bytes_read", "lustre_bytes_write"), _bytes),
    "temperaturestats_default": {f"counter_{place}": _celsius for place in range(1, 7)},
}
"""How the values of a class are written; what is not named here is a count, or a text as it is."""
