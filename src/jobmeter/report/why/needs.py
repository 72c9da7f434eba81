"""What the largest of many jobs needed, so that one request can be made that is enough for each of them."""

from __future__ import annotations

from collections.abc import Iterator

from jobmeter.report.why.advice import (
    MEMORY_MARGIN,
    STEP_BY_STEP,
    enough_cores,
    enough_seconds,
    fewer_cores,
    flag_for_cores,
    flag_for_memory,
    flag_for_time,
    less_memory,
    less_time,
    rounded_up,
)
from jobmeter.report.why.facts import Facts
from jobmeter.report.why.names import RESIDENT
from jobmeter.report.why.words import Figure, Statement, count, literal, say, size, span


class _Largest:
    """The largest need of a kind, and the largest request. Told only when every job told its need."""

    def __init__(self) -> None:
        self.jobs = 0
        self.used = 0.0
        self.asked = 0.0

    def add(self, used: float | None, asked: float | None) -> None:
        """One more job's, if both are known."""
        if used is not None and asked is not None:
            self.jobs += 1
            self.used = max(self.used, used)
            self.asked = max(self.asked, asked)


class Needs:
    """Takes jobs in; says for how many less was enough, and what is enough for each of them."""

    def __init__(self) -> None:
        self._jobs = 0
        self._less = dict.fromkeys(("cores", "memory", "time"), 0)
        self._cores, self._memory, self._time = _Largest(), _Largest(), _Largest()
        self._several_processes = False
        self._managers: set[str | None] = set()
        self._on_several_nodes = False

    def add(self, facts: Facts) -> None:
        """One more job."""
        self._jobs += 1
        self._managers.add(facts.manager)
        self._on_several_nodes |= (facts.nodes or 1) > 1
        self._several_processes |= facts.memory_peak_meaning == RESIDENT and (facts.cores or 1) > 1
        for kind, less in (("cores", fewer_cores), ("memory", less_memory), ("time", less_time)):
            self._less[kind] += less(facts) is not None
        self._cores.add(facts.cores_used, facts.cores)
        self._memory.add(facts.memory_peak_bytes, facts.memory_requested_bytes)
        self._time.add(facts.wall_seconds, facts.limit_seconds)

    def statements(self) -> Iterator[Statement]:
        """What to change the next time; nothing where what is known does not tell."""
        less = {kind: count(number, "job", "jobs") for kind, number in self._less.items() if number}
        if less:
            said = {"cores": "fewer cores", "memory": "less memory", "time": "a shorter time limit"}
            text = ", ".join(f"{said[kind]} for {{{kind}}}" for kind in less)
            yield say("advice", f"Enough would have been {text}.", **less)
        if self._jobs > 1 and len(self._managers) == 1:
            yield from self._enough(next(iter(self._managers)))

    def _enough(self, manager: str | None) -> Iterator[Statement]:
        """What is enough for each, where all of them told and some of them asked for more."""
        if not self._on_several_nodes:
            cores = enough_cores(self._cores.used)
            if self._tells(self._cores, cores):
                used = count(self._cores.used, "core", "cores")
                yield _enough(
                    "The busiest of them kept {used} busy on average", flag_for_cores(manager, cores),
                    used=used, enough=count(cores, "core", "cores"),
                )  # fmt: skip
            memory = rounded_up(self._memory.used * MEMORY_MARGIN)
            if self._tells(self._memory, memory):
                yield _enough(
                    "The largest of them had a peak of {used} of memory", flag_for_memory(manager, memory),
                    STEP_BY_STEP if self._several_processes else "",
                    used=size(self._memory.used), enough=size(memory),
                )  # fmt: skip
        seconds = enough_seconds(self._time.used)
        if self._tells(self._time, seconds):
            yield _enough(
                "The longest of them ran {used}", flag_for_time(manager, seconds),
                used=span(self._time.used), enough=span(seconds),
            )  # fmt: skip

    def _tells(self, largest: _Largest, enough: float) -> bool:
        return largest.jobs == self._jobs and 0 < enough < largest.asked


def _enough(why: str, flag: str | None, hint: str = "", **figures: Figure) -> Statement:
    text = f"{why}. Enough for each of them: {{enough}}"
    if flag is None:
        return say("advice", f"{text}.{hint}", **figures)
    return say("advice", f"{text}: {{flag}}.{hint}", flag=literal(flag), **figures)
