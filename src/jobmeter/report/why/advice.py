"""Which flag of which batch system would have asked for what the job needed, with a margin that keeps it safe.

Facts: sbatch(1), condor_submit(1), oarsub(1), and the Kubernetes documents on requests of containers and on
`activeDeadlineSeconds`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from jobmeter.report.why.facts import Facts
from jobmeter.report.why.names import GIB, MIB, RESIDENT
from jobmeter.report.why.words import Figure, Statement, count, literal, percent, say, size, span

CORE_MARGIN, MEMORY_MARGIN, TIME_MARGIN = 1.1, 1.2, 1.25
"""What is asked for is so many times what was used."""

STEP_BY_STEP = " What several processes had together is not known, so go down step by step."

SHORT_SECONDS = 60
"""Of a job that ran shorter than this nothing is concluded."""

_LITTLE_CPU, _LITTLE_MEMORY, _LITTLE_TIME = 0.75, 0.6, 0.5
_NEARLY = 0.95
_ONE_THREAD = 1.05
"""Cores kept busy by what runs in one thread, and a little around it."""


def advice(facts: Facts) -> Iterator[Statement]:
    """What to change the next time; nothing where what is known does not tell."""
    if _is_short(facts):
        return
    yield from _cores(facts)
    yield from _memory(facts)
    yield from _time(facts)


def fewer_cores(facts: Facts) -> int | None:
    """How many cores would have been enough, None where it needed those that it had, or where that is not known."""
    used, efficiency, cores = facts.cores_used, facts.cpu_efficiency, facts.cores
    if used is None or efficiency is None or cores is None or _is_short(facts) or (facts.nodes or 1) > 1:
        return None
    enough = enough_cores(used)
    return enough if efficiency < _LITTLE_CPU and enough < cores else None


def less_memory(facts: Facts) -> int | None:
    """How many bytes would have been enough, None as above."""
    peak, part, asked = facts.memory_peak_bytes, facts.memory_efficiency, facts.memory_requested_bytes
    if peak is None or part is None or asked is None or _is_short(facts) or (facts.nodes or 1) > 1:
        return None
    enough = rounded_up(peak * MEMORY_MARGIN)
    return enough if part < _LITTLE_MEMORY and enough < asked else None


def less_time(facts: Facts) -> int | None:
    """How many seconds of limit would have been enough, None as above."""
    wall, part, limit = facts.wall_seconds, facts.limit_share, facts.limit_seconds
    if wall is None or part is None or limit is None or _is_short(facts):
        return None
    enough = enough_seconds(wall)
    return enough if part < _LITTLE_TIME and enough < limit else None


def enough_cores(used: float) -> int:
    """Cores for what keeps so many busy on average."""
    return 1 if used <= _ONE_THREAD else math.ceil(used * CORE_MARGIN)


def enough_seconds(wall: float) -> int:
    """A limit for what runs so long, in steps of 5 minutes."""
    return math.ceil(wall * TIME_MARGIN / 300) * 300


def _is_short(facts: Facts) -> bool:
    return facts.wall_seconds is None or facts.wall_seconds < SHORT_SECONDS


def _cores(facts: Facts) -> Iterator[Statement]:
    used, efficiency, cores = facts.cores_used, facts.cpu_efficiency, facts.cores
    if used is None or efficiency is None or cores is None:
        return
    if (enough := fewer_cores(facts)) is not None:
        why = "It kept {used} busy on average of {cores}."
        if used <= _ONE_THREAD:
            why += " It may run in one thread only."
        flag = flag_for_cores(facts.manager, enough)
        yield _say(
            f"{why} Ask for {{enough}}", flag, used=count(used, "core", "cores"), cores=count(cores, "core", "cores"),
            enough=count(enough, "core", "cores"),
        )  # fmt: skip
    elif efficiency > CORE_MARGIN:
        enough = math.ceil(used)
        yield _say(
            "It used more processor time than it had cores for: {part}. Ask for {enough}",
            flag_for_cores(facts.manager, enough),
            part=percent(efficiency),
            enough=count(enough, "core", "cores"),
        )


def _memory(facts: Facts) -> Iterator[Statement]:
    peak, part = facts.memory_peak_bytes, facts.memory_efficiency
    if peak is None or part is None or (facts.nodes or 1) > 1:
        return
    enough = rounded_up(peak * MEMORY_MARGIN)
    flag = flag_for_memory(facts.manager, enough)
    if part >= _NEARLY:
        yield _say("It came close to its memory, {part} of it. Ask for {enough}", flag, part=percent(part),
                   enough=size(enough))  # fmt: skip
    elif less_memory(facts) is not None:
        several = facts.memory_peak_meaning == RESIDENT and (facts.cores or 1) > 1
        hint = STEP_BY_STEP if several else ""
        yield _say("{part} of its memory was enough. Ask for {enough}", flag, hint, part=percent(part),
                   enough=size(enough))  # fmt: skip


def _time(facts: Facts) -> Iterator[Statement]:
    part, wall = facts.limit_share, facts.wall_seconds
    if part is None or wall is None:
        return
    enough = enough_seconds(wall)
    flag = flag_for_time(facts.manager, enough)
    if part >= _NEARLY:
        yield _say("It ran into its time limit, or nearly: {part} of it. Ask for {enough}", flag, part=percent(part),
                   enough=span(enough))  # fmt: skip
    elif less_time(facts) is not None:
        hint = " Shorter jobs start sooner where the scheduler fills gaps."
        yield _say("It needed {part} of its time limit. Ask for {enough}", flag, hint, part=percent(part),
                   enough=span(enough))  # fmt: skip


def _say(pattern: str, flag: str | None, hint: str = "", **figures: Figure) -> Statement:
    if flag is None:
        return say("advice", f"{pattern}.{hint}", **figures)
    return say("advice", f"{pattern}: {{flag}}.{hint}", flag=literal(flag), **figures)


def flag_for_cores(manager: str | None, cores: int) -> str | None:
    """How so many cores on one node are asked for; None where we do not know it."""
    return {
        "slurm": f"--cpus-per-task={cores}",
        "htcondor": f"request_cpus = {cores}",
        "oar": f"oarsub -l /nodes=1/core={cores}",
        "kubernetes": f'resources.requests.cpu: "{cores}"',
    }.get(manager or "")


def flag_for_memory(manager: str | None, amount: int) -> str | None:
    """How so many bytes are asked for, a whole number of MiB. OAR gives memory with its cores: None."""
    mebibytes = amount // MIB
    text = f"{mebibytes // 1024}G" if mebibytes % 1024 == 0 else f"{mebibytes}M"
    return {
        "slurm": f"--mem={text}",
        "htcondor": f"request_memory = {mebibytes}",
        "kubernetes": f"resources.requests.memory: {text}i",
    }.get(manager or "")


def flag_for_time(manager: str | None, seconds: int) -> str | None:
    """How so many seconds are asked for."""
    clock = f"{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
    return {
        "slurm": f"--time={clock}",
        "htcondor": f"allowed_execute_duration = {seconds}",
        "oar": f"oarsub -l walltime={clock}",
        "kubernetes": f"activeDeadlineSeconds: {seconds}",
    }.get(manager or "")


def rounded_up(amount: float) -> int:
    """Bytes as one asks for them: in steps of 64 MiB, from 4 GiB on in whole GiB."""
    step = GIB if amount > 4 * GIB else 64 * MIB
    return max(1, math.ceil(amount / step)) * step
