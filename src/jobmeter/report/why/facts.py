"""What is known of a job, in base units, from its record and the summary of its samples. What is not known is None."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from msgspec import Struct

from jobmeter.model.record import Record
from jobmeter.model.summary import EnergySource, JobSummary
from jobmeter.report.why.names import CHARGED, ENERGY_SOURCES, LIMITS, RESIDENT, SUBMITTED, Names, Source

_CLOCK = re.compile(r"(?:(\d{1,6})-)?(\d{1,6}):([0-5]?\d):([0-5]?\d)(?:\.\d+)?", re.ASCII)
_SECONDS = re.compile(r"\d{1,12}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*", re.ASCII)
_NANO = 1e-9
_MOST = 1e30
"""More of anything is no measurement, and would break sums."""
_MEASURED = frozenset({"ipmi", "rapl", "measured"})


class Facts(Struct, frozen=True, kw_only=True):
    """A job. Times are aware, spans are seconds, sizes bytes; `cpu_seconds` are core seconds that were used.

    `memory_peak_meaning` says what the peak counts. `energy_measured` is None where nobody says how it is known.
    """

    record_id: str
    manager: str | None = None
    site: str | None = None
    user: str | None = None
    group: str | None = None
    start: datetime
    stop: datetime | None = None
    wait_seconds: float | None = None
    wall_seconds: float | None = None
    limit_seconds: float | None = None
    cores: float | None = None
    nodes: float | None = None
    cpu_seconds: float | None = None
    memory_requested_bytes: float | None = None
    memory_peak_bytes: float | None = None
    memory_peak_meaning: str | None = None
    gpus: float | None = None
    gpu_busy: float | None = None
    read_bytes: float | None = None
    written_bytes: float | None = None
    joules: float | None = None
    energy_measured: bool | None = None
    from_samples: bool = False

    @property
    def core_seconds(self) -> float | None:
        """Cores times wall time: what was taken from others."""
        return _times(self.cores, self.wall_seconds)

    @property
    def cpu_efficiency(self) -> float | None:
        """The part of the core seconds that was used; more than 1 where a job used more cores than it was given."""
        return _part(self.cpu_seconds, self.core_seconds)

    @property
    def cores_used(self) -> float | None:
        """How many cores were busy on average."""
        return _part(self.cpu_seconds, self.wall_seconds)

    @property
    def memory_efficiency(self) -> float | None:
        """The peak as a part of what was asked for."""
        return _part(self.memory_peak_bytes, self.memory_requested_bytes)

    @property
    def limit_share(self) -> float | None:
        """The wall time as a part of the limit."""
        return _part(self.wall_seconds, self.limit_seconds)

    @property
    def wasted_core_seconds(self) -> float | None:
        """Core seconds that nobody could use though the job did not."""
        if self.core_seconds is None or self.cpu_seconds is None:
            return None
        return max(0.0, self.core_seconds - self.cpu_seconds)

    @property
    def wasted_byte_seconds(self) -> float | None:
        """Memory that was asked for and never used, times wall time."""
        if self.memory_requested_bytes is None or self.memory_peak_bytes is None:
            return None
        return _times(max(0.0, self.memory_requested_bytes - self.memory_peak_bytes), self.wall_seconds)


def facts_of(record: Record, summary: JobSummary | None = None, names: Names | None = None) -> Facts:
    """What a record and, where there is one, the summary of its samples say. Never raises for a record's content."""
    found = _Found(record, names or Names())
    peak, meaning = found.sized("peak")
    joules, measured = found.amount("energy"), found.measured()
    wall = None if record.stop_time is None else (record.stop_time - record.start_time).total_seconds()
    facts = Facts(
        record_id=record.record_id,
        manager=found.manager(),
        site=found.text("site_id", "site"),
        user=found.text("user_id", "user"),
        group=found.text("group_id", "group"),
        start=record.start_time,
        stop=record.stop_time,
        wait_seconds=found.wait(),
        wall_seconds=wall if wall is None or wall >= 0 else None,
        limit_seconds=found.limit(),
        cores=found.amount("cores"),
        nodes=found.amount("nodes"),
        cpu_seconds=found.cpu(),
        memory_requested_bytes=found.amount("memory"),
        memory_peak_bytes=peak,
        memory_peak_meaning=meaning,
        gpus=found.amount("gpus"),
        gpu_busy=found.amount("gpu-busy"),
        read_bytes=found.amount("read"),
        written_bytes=found.amount("written"),
        joules=joules,
        energy_measured=None if joules is None else measured,
    )
    return facts if summary is None else _with_samples(facts, summary)


class _Found:
    """Looks into one record."""

    def __init__(self, record: Record, names: Names) -> None:
        self._record = record
        self._names = names
        self._meta = record.meta or {}
        self._amounts: dict[str, int] = {}
        for component in record.components:
            self._amounts.setdefault(component.name, component.amount)

    def amount(self, quantity: str) -> float | None:
        """A quantity in its own unit."""
        return self.sized(quantity)[0]

    def sized(self, quantity: str) -> tuple[float | None, str | None]:
        """A quantity, and what it means where several things could be meant."""
        for source in self._names.of(quantity):
            if source.manager is not None and source.manager != self.manager():
                continue
            if (amount := self._amounts.get(source.name)) is not None:
                return amount * self._factor(source), source.meaning or None
        return None, None

    def cpu(self) -> float | None:
        """Processor time, or that of user and system where both are known."""
        if (whole := self.amount("cpu")) is not None:
            return whole
        user, system = self.amount("cpu-user"), self.amount("cpu-system")
        return None if user is None or system is None else user + system

    def text(self, *keys: str) -> str | None:
        """The first value of the first of these meta keys that is there."""
        return next((values[0] for key in keys if (values := self._meta.get(key))), None)

    def manager(self) -> str | None:
        """The batch system."""
        told = self.text("manager", "collector_type")
        return None if told is None else told.removesuffix("-epilog").lower()

    def wait(self) -> float | None:
        """Seconds from submission to start."""
        for key in SUBMITTED:
            for text in self._meta.get(key, ())[:1]:
                moment = _moment(text)
                wait = None if moment is None else (self._record.start_time - moment).total_seconds()
                if wait is not None and wait >= 0:
                    return wait
        return None

    def limit(self) -> float | None:
        """The time limit."""
        if (amount := self.amount("limit")) is not None:
            return amount
        texts = (values[0] for key in LIMITS if (values := self._meta.get(key)))
        return next((seconds for text in texts if (seconds := _span(text)) is not None), None)

    def measured(self) -> bool | None:
        """Whether the energy was measured, None where the record does not say."""
        told = self.text(*ENERGY_SOURCES)
        return None if told is None else told.lower() in _MEASURED

    def _factor(self, source: Source) -> float:
        return source.factor / 1000 if source.timed and self.text("time_unit") == "milliseconds" else source.factor


def _with_samples(facts: Facts, summary: JobSummary) -> Facts:
    """What samples say is put beside what the record says.

    Of processor time, which nobody overstates, more counts; but records tell it in whole seconds, maybe rounded up.
    """
    known = {name: getattr(facts, name) for name in Facts.__struct_fields__}
    known["from_samples"] = True
    used = _total(summary, "cgroup_cpu_usage", _NANO)
    if used is not None:
        told = facts.cpu_seconds or 0.0
        known["cpu_seconds"] = used if told < used + 1 else told
    if (peak := _peak(summary, "cgroup_memory_peak")) is not None:
        known |= {"memory_peak_bytes": peak, "memory_peak_meaning": CHARGED}
    elif (peak := _peak(summary, "jobproc_vmrss")) is not None:
        known |= {"memory_peak_bytes": peak * 1024, "memory_peak_meaning": RESIDENT}
    for name, metrics in (
        ("read_bytes", ("jobproc_read_bytes", "taskstats_read_bytes", "cgroup_io_read_bytes")),
        ("written_bytes", ("jobproc_write_bytes", "taskstats_write_bytes", "cgroup_io_write_bytes")),
    ):
        _take(known, name, next((x for each in metrics if (x := _total(summary, each, 1)) is not None), None))
    if (amount := _sound(summary.joules, 1)) is not None:
        known["joules"] = amount
        known["energy_measured"] = summary.energy in (EnergySource.IPMI, EnergySource.RAPL)
    return Facts(**known)


def _take(known: dict[str, object], name: str, value: float | None) -> None:
    if value is not None:
        known[name] = value


def _total(summary: JobSummary, name: str, factor: float) -> float | None:
    metric = summary.metric(name)
    return None if metric is None else _sound(metric.total, factor)


def _peak(summary: JobSummary, name: str) -> float | None:
    metric = summary.metric(name)
    return None if metric is None else _sound(metric.peak, 1)


def _sound(value: float | None, factor: float) -> float | None:
    return value * factor if value is not None and 0 <= value <= _MOST else None


def _moment(text: str) -> datetime | None:
    """A moment of ISO 8601 (UTC without a zone) or in seconds since 1970."""
    try:
        if _SECONDS.fullmatch(text):
            return datetime.fromtimestamp(int(text), UTC) if int(text) > 0 else None
        if _DATE.fullmatch(text):
            found = datetime.fromisoformat(text.removesuffix(" UTC"))
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _span(text: str) -> float | None:
    if _SECONDS.fullmatch(text):
        return float(text)
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _times(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one * other


def _part(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole
