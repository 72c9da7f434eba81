"""From the text of a control group's file to numbers. Facts: the kernel's cgroup-v1 and cgroup-v2 documents.

A `Reading` is what one file is read with: `learn` looks at it once and gives the names it has values for, and a parser
that then finds these values quickly.
"""

from __future__ import annotations

import os
from collections.abc import Callable

Parser = Callable[[bytes], list[int | None]]
Learned = tuple[tuple[str, ...], Parser]
Learn = Callable[[bytes], Learned]

NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Processor time that the kernel counts in ticks, in nanoseconds a tick."""


def number(name: str) -> Learn:
    """A file that is one number. `max` is no number."""

    def parse(data: bytes) -> list[int | None]:
        text = data.strip()
        return [int(text) if text.isdigit() else None]

    return lambda _: ((name,), parse)


def flat(names: dict[bytes, str], scale: int = 1) -> Learn:
    """A file of lines `KEY NUMBER`; those of `names` are wanted, and kept when the file has them."""

    def learn(data: bytes) -> Learned:
        present = {line.partition(b" ")[0] for line in data.splitlines()}
        wanted = [key for key in names if key in present]
        return tuple(names[key] for key in wanted), _lines(wanted, scale)

    return learn


def _lines(keys: list[bytes], scale: int) -> Parser:
    """Reads numbers from lines that nearly always stand at the places where they stood the last time."""
    heads = [key + b" " for key in keys]
    places: list[int] = []

    def parse(data: bytes) -> list[int | None]:
        lines = data.split(b"\n")
        if not places or max(places) >= len(lines):
            _place(lines, heads, places)
        values: list[int | None] = []
        for head, place in zip(heads, places, strict=True):
            line = lines[place]
            if not line.startswith(head):
                _place(lines, heads, places)
                return _slowly(lines, heads, scale)
            values.append(int(line[len(head) :]) * scale)
        return values

    return parse


def _place(lines: list[bytes], heads: list[bytes], places: list[int]) -> None:
    places[:] = [next((at for at, line in enumerate(lines) if line.startswith(head)), 0) for head in heads]


def _slowly(lines: list[bytes], heads: list[bytes], scale: int) -> list[int | None]:
    found = {line.partition(b" ")[0] + b" ": line for line in lines}
    return [int(found[head][len(head) :]) * scale if head in found else None for head in heads]


def devices(keys: dict[bytes, str]) -> Learn:
    """`io.stat`: a line per device, `MAJOR:MINOR KEY=NUMBER ...`, summed over the devices."""
    order = tuple(keys)

    def parse(data: bytes) -> list[int | None]:
        sums = dict.fromkeys(order, 0)
        for word in data.split():
            key, equals, value = word.partition(b"=")
            if equals and key in sums:
                sums[key] += int(value)
        return list(sums.values())

    return lambda _: (tuple(keys.values()), parse)


def operations(keys: dict[bytes, str]) -> Learn:
    """`blkio.throttle.*`: lines `MAJOR:MINOR OPERATION NUMBER`, summed over the devices."""
    order = tuple(keys)

    def parse(data: bytes) -> list[int | None]:
        sums = dict.fromkeys(order, 0)
        for line in data.splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in sums:
                sums[words[1]] += int(words[2])
        return list(sums.values())

    return lambda _: (tuple(keys.values()), parse)


def pressure(some: str, full: str) -> Learn:
    """A pressure file: what its lines `some` and `full` say in total, microseconds there and nanoseconds here."""

    def parse(data: bytes) -> list[int | None]:
        totals = [int(line.rpartition(b"total=")[2]) * 1000 for line in data.splitlines() if b"total=" in line]
        return [*totals, None, None][:2]

    return lambda _: ((some, full), parse)
