"""Many jobs in sentences: sums, percentiles and the worst ten, taken in one after the other in little memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from msgspec import Struct

from jobmeter.model.sketch import Sketch
from jobmeter.report.why.advice import fewer_cores, flag_for_cores
from jobmeter.report.why.facts import Facts
from jobmeter.report.why.job import Report, energy
from jobmeter.report.why.needs import Needs
from jobmeter.report.why.words import (
    Statement,
    core_hours,
    count,
    gib_hours,
    literal,
    name,
    percent,
    say,
    span,
    unknown,
)

WORST = 10
PARTS = (0.1, 0.5, 0.9)


class _Sum(Struct):
    """A sum, and of how many jobs it is."""

    value: float = 0.0
    jobs: int = 0

    def add(self, value: float | None) -> None:
        """One more job's, if it is known."""
        if value is not None:
            self.value += value
            self.jobs += 1


class Several:
    """Takes jobs in; `report` says what they were like."""

    def __init__(self) -> None:
        self.jobs = 0
        self._wall, self._cores, self._used, self._allocated = _Sum(), _Sum(), _Sum(), _Sum()
        self._wasted, self._memory, self._joules = _Sum(), _Sum(), _Sum()
        self._measured = 0
        self._spread = {topic: Sketch() for topic in ("wait", "cpu", "memory", "time")}
        self._needs = Needs()
        self._worst: list[tuple[float, int, Facts]] = []

    def add(self, facts: Facts) -> None:
        """One more job."""
        self.jobs += 1
        self._needs.add(facts)
        self._wall.add(facts.wall_seconds)
        self._cores.add(facts.core_seconds)
        if facts.cpu_seconds is not None and facts.core_seconds is not None:
            self._used.add(facts.cpu_seconds)
            self._allocated.add(facts.core_seconds)
        self._wasted.add(facts.wasted_core_seconds)
        self._memory.add(facts.wasted_byte_seconds)
        self._joules.add(facts.joules)
        self._measured += facts.joules is not None and facts.energy_measured is True
        for topic, value in (
            ("wait", facts.wait_seconds), ("cpu", facts.cpu_efficiency), ("memory", facts.memory_efficiency),
            ("time", facts.limit_share),
        ):  # fmt: skip
            if value is not None:
                self._spread[topic].add(value)
        if facts.wasted_core_seconds:
            entry = (facts.wasted_core_seconds, -self.jobs, facts)
            push = heapq.heappush if len(self._worst) < WORST else heapq.heappushpop
            push(self._worst, entry)

    def report(self, co2_kg_per_kwh: float | None = None, which: Statement | None = None) -> Report:
        """What there is to say of them together, and the worst of them; `which` says how they were chosen."""
        worst = [facts for _, _, facts in sorted(self._worst, reverse=True)]
        said = (
            self._found(which), *self._times(), *self._cpu(), *self._others(), *self._energy(co2_kg_per_kwh),
            *self._needs.statements(), *map(_bad, worst),
        )  # fmt: skip
        return Report("jobs", said, tuple(worst))

    def _found(self, which: Statement | None) -> Statement:
        """How many there are, and of whom."""
        jobs = count(self.jobs, "job", "jobs")
        if which is None:
            return say("jobs", "Found {jobs}.", jobs=jobs)
        return Statement("jobs", f"Found {jobs.shown}{which.text}.", {"jobs": jobs, **which.figures})

    def _times(self) -> Iterator[Statement]:
        yield from self._percentiles("wait", "waited {}", "How long they waited is not known.", parts=False)
        if not self._wall.jobs:
            yield unknown("time", "How long they ran is not known.")
        else:
            yield say("time", "Together they ran {wall}.", wall=span(self._wall.value))
        yield from self._percentiles("time", "used {} of their time limit", "Their time limits are not known.")

    def _cpu(self) -> Iterator[Statement]:
        if self._cores.jobs:
            yield say("cpu", "They held {allocated}.", allocated=core_hours(self._cores.value))
        if not self._allocated.value:
            yield unknown("cpu", "How much of their processors they used is not known.")
            return
        yield say(
            "cpu", "Of {allocated} they used {used}, {part}; known of {jobs}.",
            allocated=core_hours(self._allocated.value), used=core_hours(self._used.value),
            part=percent(self._used.value / self._allocated.value), jobs=count(self._used.jobs, "job", "jobs"),
        )  # fmt: skip
        yield from self._percentiles("cpu", "used {} of their processors", "")

    def _others(self) -> Iterator[Statement]:
        yield from self._percentiles(
            "memory", "used {} of their memory", "How much of their memory they used is not known."
        )
        if not self._wasted.jobs and not self._memory.jobs:
            yield unknown("waste", "What was set aside and not used is not known.")
        if self._wasted.jobs:
            yield say(
                "waste", "Not used: {cores}; known of {jobs}.",
                cores=core_hours(self._wasted.value), jobs=count(self._wasted.jobs, "job", "jobs"),
            )  # fmt: skip
        if self._memory.jobs:
            yield say(
                "waste", "Not used of memory: {memory}; known of {jobs}.",
                memory=gib_hours(self._memory.value), jobs=count(self._memory.jobs, "job", "jobs"),
            )  # fmt: skip

    def _energy(self, co2_kg_per_kwh: float | None) -> Iterator[Statement]:
        if not self._joules.jobs:
            yield unknown("energy", "The energy that they used is not known.")
            return
        measured = True if self._measured == self._joules.jobs else None
        for statement in energy(self._joules.value, measured, co2_kg_per_kwh):
            text = statement.text.replace("It used", "They used", 1)
            yield Statement("energy", text, statement.figures)
        yield say(
            "energy", "Energy is known of {jobs}, measured of {measured}.",
            jobs=count(self._joules.jobs, "job", "jobs"), measured=count(self._measured, "job", "jobs"),
        )  # fmt: skip

    def _percentiles(self, topic: str, verb: str, otherwise: str, *, parts: bool = True) -> Iterator[Statement]:
        sketch = self._spread[topic]
        low, middle, high = (sketch.quantile(part) for part in PARTS)
        if low is None or middle is None or high is None:
            if otherwise:
                yield unknown(topic, otherwise)
            return
        shown = percent if parts else span
        half = verb.format("{middle} or less")
        text = f"Half of them {half}, one in ten {{low}} or less, one in ten {{high}} or more"
        jobs = count(sketch.count, "job", "jobs")
        text += "; known of {jobs}."
        yield say(topic, text, low=shown(low), middle=shown(middle), high=shown(high), jobs=jobs)


def _bad(facts: Facts) -> Statement:
    figures = {
        "id": name(facts.record_id),
        "cores": core_hours(facts.wasted_core_seconds or 0.0),
        "used": percent(facts.cpu_efficiency or 0.0),
    }
    text = "{id}"
    if facts.user is not None:
        figures["user"] = name(facts.user)
        text += " of {user}"
    text += " left {cores} unused, it used {used} of its processors"
    if (enough := fewer_cores(facts)) is not None:
        figures["enough"] = count(enough, "core", "cores")
        text += "; enough: {enough}"
        if (flag := flag_for_cores(facts.manager, enough)) is not None:
            figures["flag"] = literal(flag)
            text += ", {flag}"
    return say("worst", f"{text}.", **figures)
