"""The sources of a node: which are wanted, with which settings and period, opened."""

from __future__ import annotations

import logging
from collections.abc import Sequence as Names
from typing import Any

from msgspec import Struct

from jobmeter import registry
from jobmeter.contract import SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.observe.agent import Scheduled
from jobmeter.observe.host import Host
from jobmeter.settings.fault import Fault, SettingsFaulty
from jobmeter.settings.load import bind
from jobmeter.settings.node import Entry, Mapping, Scalar

KIND = "observe.kernel"

DEFAULT = (
    "cgroup", "taskstats", "commands",
    "procstats", "disk", "network", "infiniband", "lustre", "nvidia", "rapl", "thermal",
)  # fmt: skip
"""The sources that are read unless somebody says otherwise; what the machine has not is left out quietly."""

log = logging.getLogger("jobmeter.run")


class Wanted(Struct, frozen=True):
    """A source that shall be read."""

    name: str
    settings: Any
    period_seconds: float


def wanted(tables: Mapping | None, period_seconds: float, chosen: Names[str] = DEFAULT) -> list[Wanted]:
    """The sources of `chosen` and those that have a table, with their settings. Raises SettingsFaulty with all faults.

    `tables` is what the file has under `sources`; in each table `enabled` and `period_seconds` are ours.
    """
    faults: list[Fault] = []
    found = []
    given = {} if tables is None else {entry.key: entry for entry in tables.entries}
    known = set(registry.names(KIND))
    for name in (*chosen, *(name for name in given if name not in chosen)):
        if name not in known:
            if name in given:
                reason = f"there is no source {name!r}; there is: {', '.join(sorted(known))}"
                faults.append(Fault(str(given[name].place), f"sources.{name}", reason))
            continue
        try:
            one = _one(name, given.get(name), period_seconds)
        except SettingsFaulty as fault:
            faults += [_within(name, each) for each in fault.faults]
            continue
        if one is not None:
            found.append(one)
    if faults:
        raise SettingsFaulty(faults)
    return found


class Openings:
    """Opens the sources that this machine has. What is absent or forbidden now may not be so later: call it again."""

    def __init__(self, sources: Names[Wanted], host: Host) -> None:
        self._waiting = list(sources)
        self._host = host
        self._said: dict[str, str] = {}

    def __call__(self) -> list[Scheduled]:
        """Those that could be opened now and could not before."""
        waiting, self._waiting = self._waiting, []
        return [scheduled for each in waiting if (scheduled := self._opened(each)) is not None]

    def _opened(self, wanted: Wanted) -> Scheduled | None:
        try:
            source: SampleSource = registry.module(KIND, wanted.name).open_source(wanted.settings, self._host)
        except SourceAbsent as fault:
            self._wait(wanted, logging.INFO, "node.source_absent", str(fault))
            return None
        except (SourceUnreadable, OSError) as fault:
            self._wait(wanted, logging.WARNING, "node.source_not_opened", str(fault))
            return None
        if wanted.name in self._said:
            log.info("node.source_opened source=%s", wanted.name)
        return Scheduled(wanted.name, source, int(wanted.period_seconds * 1e9))

    def _wait(self, wanted: Wanted, level: int, event: str, reason: str) -> None:
        """It is tried again later. Why is said once."""
        self._waiting.append(wanted)
        if self._said.get(wanted.name) != reason:
            self._said[wanted.name] = reason
            log.log(level, "%s source=%s reason=%r", event, wanted.name, reason)


def _one(name: str, entry: Entry | None, period_seconds: float) -> Wanted | None:
    struct = registry.module(KIND, name).Settings
    if entry is None:
        return Wanted(name, struct(), max(getattr(struct, "own_period_seconds", 0.0), period_seconds))
    if not isinstance(entry.value, Mapping):
        raise SettingsFaulty([Fault(str(entry.place), f"sources.{name}", "is not a table")])
    ours = {each.key: each for each in entry.value.entries if each.key in ("enabled", "period_seconds")}
    rest = Mapping(tuple(each for each in entry.value.entries if each.key not in ours), entry.value.place)
    if not _enabled(ours.get("enabled"), name):
        return None
    loaded = bind(struct, rest, {}, None)
    period = max(getattr(struct, "own_period_seconds", 0.0), period_seconds)
    return Wanted(name, loaded.settings, _period(ours.get("period_seconds"), name, period))


def _within(name: str, fault: Fault) -> Fault:
    table = f"sources.{name}"
    if fault.key.startswith(table):
        return fault
    return Fault(fault.place, f"{table}.{fault.key}".rstrip("."), fault.reason, fault.mend)


def _enabled(entry: Entry | None, name: str) -> bool:
    value = entry.value.value if entry is not None and isinstance(entry.value, Scalar) else True
    if not isinstance(value, bool):
        raise SettingsFaulty([Fault(str(entry and entry.place), f"sources.{name}.enabled", "is not true or false")])
    return value


def _period(entry: Entry | None, name: str, default: float) -> float:
    if entry is None:
        return default
    value = entry.value.value if isinstance(entry.value, Scalar) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.05 <= value <= 86400:
        reason = "is not a number of seconds from 0.05 to 86400"
        raise SettingsFaulty([Fault(str(entry.place), f"sources.{name}.period_seconds", reason)])
    return float(value)
