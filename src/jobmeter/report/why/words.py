"""Numbers as people read them, and statements whose every number is also there as a figure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

from jobmeter.report.visible import visible
from jobmeter.report.why.names import GIB, KIB, MIB

_PLACE = re.compile(r"\{(\w+)\}")


class Figure(Struct, frozen=True):
    """A value with its unit, and as it is written in the sentence."""

    value: float | int | str
    unit: str
    shown: str


class Statement(Struct, frozen=True):
    """A sentence about `topic`. Its text has no digits but those of its figures. `known` false: nobody can tell."""

    topic: str
    text: str
    figures: Mapping[str, Figure] = {}
    known: bool = True


def say(topic: str, pattern: str, **figures: Figure) -> Statement:
    """The pattern with `{name}` replaced by the figures of that name, whatever stands in these."""
    text = _PLACE.sub(lambda match: figures[match[1]].shown, pattern)
    return Statement(topic, text, {name: figures[name] for name in dict.fromkeys(_PLACE.findall(pattern))})


def unknown(topic: str, text: str) -> Statement:
    """What cannot be told."""
    return Statement(topic, text, known=False)


def span(seconds: float) -> Figure:
    """Seconds, as `3 h 20 min`."""
    return Figure(seconds, "seconds", _span(seconds))


def _span(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(round(whole / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(whole / 3600), 24)
    return f"{days:,} d {hours} h" if hours else f"{days:,} d"


def size(count: float) -> Figure:
    """Bytes, as `1.5 GiB`."""
    return Figure(count, "bytes", _size(count))


def _size(count: float) -> str:
    for factor, unit in ((2**50, "PiB"), (2**40, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= factor:
            return f"{number_text(count / factor)} {unit}"
    return f"{count:.0f} bytes"


def number(value: float, unit: str, word: str = "") -> Figure:
    """A plain number, with three digits that count, and a word behind it."""
    return Figure(value, unit, f"{number_text(value)} {word}".rstrip())


def number_text(value: float) -> str:
    """A number with thousands apart; whole where it is large or whole."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.01 else f"{value:.2g}"


def count(value: float, one: str, many: str) -> Figure:
    """How many of something."""
    return Figure(value, "count", f"{number_text(value)} {one if value == 1 else many}")


def percent(part: float) -> Figure:
    """A part of a whole, as `87 %`."""
    whole = part * 100
    text = f"{whole:.0f}" if whole >= 10 or part == 0 else f"{whole:.1f}" if whole >= 0.1 else f"{whole:.1g}"
    return Figure(part, "part", f"{text} %")


def core_hours(core_seconds: float) -> Figure:
    """Core seconds, as core hours."""
    return Figure(core_seconds / 3600, "core hours", _hours(core_seconds / 3600, "core"))


def gib_hours(byte_seconds: float) -> Figure:
    """Memory over time."""
    value = byte_seconds / GIB / 3600
    return Figure(value, "GiB hours", _hours(value, "GiB"))


def _hours(value: float, of: str) -> str:
    shown = number_text(value)
    return f"{shown} {of} {'hour' if shown == '1' else 'hours'}"


def joules(amount: float) -> Figure:
    """Energy, in joules."""
    return Figure(amount, "joules", f"{number_text(amount)} J")


def kilowatt_hours(amount: float) -> Figure:
    """Joules, as kilowatt-hours."""
    return Figure(amount / 3.6e6, "kilowatt hours", f"{number_text(amount / 3.6e6)} kWh")


def moment(when: datetime) -> Figure:
    """A moment, in UTC."""
    try:
        utc = when.astimezone(UTC)
    except OverflowError:  # within a day of the first or last moment that there is
        return Figure(when.isoformat(), "time", when.isoformat())
    return Figure(utc.isoformat(), "time", f"{utc:%Y-%m-%d %H:%M:%S} UTC")


def name(text: str) -> Figure:
    """A name as the record has it, made visible and in quotes."""
    return Figure(text, "text", f"“{visible(text)[:200]}”")


def literal(text: str) -> Figure:
    """What can be typed, such as a flag."""
    return Figure(text, "text", text)
