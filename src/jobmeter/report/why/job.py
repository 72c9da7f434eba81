"""A job in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from jobmeter.report.why.advice import advice
from jobmeter.report.why.facts import Facts
from jobmeter.report.why.words import (
    Figure,
    Statement,
    core_hours,
    count,
    gib_hours,
    joules,
    kilowatt_hours,
    moment,
    name,
    number,
    percent,
    say,
    size,
    span,
    unknown,
)


class Report(Struct, frozen=True):
    """What is said, and about what."""

    about: str
    statements: tuple[Statement, ...]
    jobs: tuple[Facts, ...]


def explain(facts: Facts, co2_kg_per_kwh: float | None = None) -> Report:
    """All there is to say of one job."""
    said = (
        _job(facts), _wait(facts), _time(facts), _cpu(facts), _memory(facts), _gpu(facts), _io(facts),
        *energy(facts.joules, facts.energy_measured, co2_kg_per_kwh), *_waste(facts), *advice(facts),
    )  # fmt: skip
    return Report("job", said, (facts,))


def _job(facts: Facts) -> Statement:
    figures: dict[str, Figure] = {"id": name(facts.record_id), "start": moment(facts.start)}
    pattern = "Record {id}"
    for word, key, text in (("of", "user", facts.user), ("group", "group", facts.group), ("at", "site", facts.site)):
        if text is not None:
            figures[key] = name(text)
            pattern += f" {word} {{{key}}}"
    pattern += " began {start}"
    if facts.stop is None:
        return say("job", f"{pattern} and has not ended.", **figures)
    return say("job", f"{pattern} and ended {{stop}}.", **figures, stop=moment(facts.stop))


def _wait(facts: Facts) -> Statement:
    if facts.wait_seconds is None:
        return unknown("wait", "How long it waited is not known: the record has no time of submission.")
    figures = {"wait": span(facts.wait_seconds)}
    if not facts.wall_seconds:
        return say("wait", "It waited {wait} before it began.", **figures)
    times = number(facts.wait_seconds / facts.wall_seconds, "ratio", "times")
    return say("wait", "It waited {wait} before it began, {times} as long as it ran.", **figures, times=times)


def _time(facts: Facts) -> Statement:
    if facts.wall_seconds is None:
        return unknown("time", "How long it ran is not known: it has not ended.")
    wall = span(facts.wall_seconds)
    if facts.limit_seconds is None or facts.limit_share is None:
        return say("time", "It ran {wall}; its time limit is not known.", wall=wall)
    return say(
        "time", "It ran {wall}, {part} of its limit of {limit}.",
        wall=wall, part=percent(facts.limit_share), limit=span(facts.limit_seconds),
    )  # fmt: skip


def _cpu(facts: Facts) -> Statement:
    if facts.cpu_seconds is None:
        return unknown("cpu", "The processor time that it used is not known.")
    used = core_hours(facts.cpu_seconds)
    if facts.core_seconds == 0:
        return say("cpu", "It used {used} of processor time and held {held}.", used=used, held=core_hours(0))
    if facts.cpu_efficiency is None or facts.core_seconds is None or facts.cores is None:
        why = "how many cores it had" if facts.cores is None else "how long it held its cores"
        return say("cpu", f"It used {{used}} of processor time; {why} is not known.", used=used)
    return say(
        "cpu", "It used {part} of its processors: {used} of {allocated} ({cores} allocated).",
        part=percent(facts.cpu_efficiency), used=used, allocated=core_hours(facts.core_seconds),
        cores=count(facts.cores, "core", "cores"),
    )  # fmt: skip


def _memory(facts: Facts) -> Statement:
    if facts.memory_peak_bytes is None:
        if facts.memory_requested_bytes is None:
            return unknown("memory", "Its memory is not known, neither what it used nor what it asked for.")
        asked = size(facts.memory_requested_bytes)
        return say("memory", "It asked for {asked} of memory; how much it used is not known.", asked=asked)
    peak = size(facts.memory_peak_bytes)
    meaning = facts.memory_peak_meaning or "what the peak counts is not known"
    if facts.memory_efficiency is None or facts.memory_requested_bytes is None:
        return say(
            "memory", f"Its peak of memory was {{peak}} ({meaning}); how much it asked for is not known.", peak=peak
        )
    part, asked = percent(facts.memory_efficiency), size(facts.memory_requested_bytes)
    text = f"Its peak of memory was {{peak}} ({meaning}), {{part}} of the {{asked}} that it asked for."
    return say("memory", text, peak=peak, part=part, asked=asked)


def _gpu(facts: Facts) -> Statement:
    if facts.gpus is None:
        return unknown("gpu", "Whether it had graphics processors is not known.")
    gpus = count(facts.gpus, "graphics processor", "graphics processors")
    if not facts.gpus:
        return say("gpu", "It had {gpus}.", gpus=gpus)
    if facts.gpu_busy is None:
        return say("gpu", "It had {gpus}; how busy they were is not known.", gpus=gpus)
    return say("gpu", "It had {gpus}, busy {busy} of the time.", gpus=gpus, busy=percent(facts.gpu_busy))


def _io(facts: Facts) -> Statement:
    if facts.read_bytes is None and facts.written_bytes is None:
        return unknown("io", "What it read and wrote is not known.")
    if facts.read_bytes is None or facts.written_bytes is None:
        amount, word, other = (
            (facts.read_bytes, "read", "wrote")
            if facts.written_bytes is None
            else (facts.written_bytes, "wrote", "read")
        )
        return say("io", f"It {word} {{amount}}; what it {other} is not known.", amount=size(amount or 0.0))
    return say(
        "io", "It read {read} and wrote {written}.", read=size(facts.read_bytes), written=size(facts.written_bytes)
    )


def energy(amount: float | None, measured: bool | None, co2_kg_per_kwh: float | None) -> Iterator[Statement]:
    """Joules and kilowatt-hours, how they are known, and carbon dioxide where somebody says how much a kWh makes."""
    if amount is None:
        yield unknown("energy", "The energy that it used is not known.")
        return
    how = {True: "measured", False: "estimated", None: "whether measured or estimated is not known"}[measured]
    figures = {"joules": joules(amount), "kwh": kilowatt_hours(amount)}
    text = f"It used {{joules}} of energy, {{kwh}} ({how})."
    if co2_kg_per_kwh is None:
        yield say("energy", text, **figures)
        return
    carbon = number(amount / 3.6e6 * co2_kg_per_kwh, "kilograms", "kg")
    rate = number(co2_kg_per_kwh, "kilograms a kilowatt hour", "kg a kWh")
    text += " At {rate} that is {carbon} of carbon dioxide."
    yield say("energy", text, **figures, carbon=carbon, rate=rate)


def _waste(facts: Facts) -> Iterator[Statement]:
    cores, memory = facts.wasted_core_seconds, facts.wasted_byte_seconds
    if cores is None and memory is None:
        yield unknown("waste", "What was set aside and not used is not known.")
    elif cores is None:
        yield say(
            "waste", "Not used: {memory} of memory; of processors it is not known.", memory=gib_hours(memory or 0.0)
        )
    elif memory is None:
        yield say("waste", "Not used: {cores}; of memory it is not known.", cores=core_hours(cores))
    else:
        yield say(
            "waste", "Not used: {cores} and {memory} of memory.", cores=core_hours(cores), memory=gib_hours(memory)
        )
