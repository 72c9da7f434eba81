"""Usage by name, from totals per name and site. Exact sums; a number is rounded when it is written."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from html import escape

from msgspec import Struct

from jobmeter.report.visible import visible

JOULES_PER_KWH = 3_600_000
HEADER = ("user", "khs23h", "cpu_eff", "corehours", "power [kWh]", "co2 [kg]")
"""The columns of AUDITOR's file; `power` is an energy."""


class Usage(Struct, frozen=True):
    """Sums over the jobs of one name on one site; None for the name stands for jobs without one.

    `benchmarked` is score times cores times seconds, `energy_joules` what was measured, `measured_core_seconds` the
    core seconds of the jobs that were measured. `cpu_seconds` are of the `known_jobs` whose processor time is known,
    who held `known_core_seconds`; `scored_jobs` have a benchmark score.
    """

    name: str | None
    site: str | None
    jobs: int
    core_seconds: Fraction
    cpu_seconds: Fraction
    benchmarked: Fraction
    energy_joules: Fraction
    measured_core_seconds: Fraction
    known_core_seconds: Fraction
    known_jobs: int
    scored_jobs: int


class Line(Struct, frozen=True):
    """One line of the report. `efficiency` is of the `known_jobs`, None where those held no core; `khs23h` is of the
    `scored_jobs`; energy is in kilowatt-hours.

    `measured` is the part of the energy that was measured, from 0 to 1, the rest comes from watts per core; None where
    there is no energy.
    """

    name: str
    jobs: int
    known_jobs: int
    scored_jobs: int
    khs23h: float
    efficiency: float | None
    corehours: float
    energy_kwh: float
    measured: float | None
    co2_kg: float


class Power(Struct, frozen=True):
    """Watts of a core: of a site where it is named, else the common one."""

    common: float
    by_site: Mapping[str, float]

    def joules(self, usage: Usage) -> Fraction:
        """The energy of the jobs that nobody measured."""
        watts = self.by_site.get(usage.site, self.common) if usage.site is not None else self.common
        return Fraction(str(watts)) * (usage.core_seconds - usage.measured_core_seconds)


def lines(usages: Iterable[Usage], gathered: Sequence[str], power: Power, co2_per_kwh: float) -> list[Line]:
    """A line for each name in alphabetical order, after names have been gathered and shortened."""
    by_name: dict[str, list[Usage]] = {}
    for usage in usages:
        by_name.setdefault(shown_name(usage.name, gathered), []).append(usage)
    return [_line(name, parts, power, Fraction(str(co2_per_kwh))) for name, parts in sorted(by_name.items())]


def shown_name(name: str | None, gathered: Sequence[str]) -> str:
    """The name of the line: the first of `gathered` that it contains, and `/VO/Role=ROLE/…` as `VO-ROLE`."""
    if name is None:
        return "(none)"
    name = next((each for each in gathered if each in name), name)
    parts = name.split("/")
    if not name.startswith("/") or len(parts) < 3:
        return name
    return f"{parts[1]}-{parts[2].removeprefix('Role=')}"


def _line(name: str, parts: Sequence[Usage], power: Power, co2_per_kwh: Fraction) -> Line:
    cores = sum((part.core_seconds for part in parts), Fraction(0))
    cpu = sum((part.cpu_seconds for part in parts), Fraction(0))
    known = sum((part.known_core_seconds for part in parts), Fraction(0))
    measured = sum((part.energy_joules for part in parts), Fraction(0))
    energy = measured + sum((power.joules(part) for part in parts), Fraction(0))
    return Line(
        name=name,
        jobs=sum(part.jobs for part in parts),
        known_jobs=sum(part.known_jobs for part in parts),
        scored_jobs=sum(part.scored_jobs for part in parts),
        khs23h=float(sum((part.benchmarked for part in parts), Fraction(0)) / 3600 / 1000),
        efficiency=None if known == 0 else float(cpu / known),
        corehours=float(cores / 3600),
        energy_kwh=float(energy / JOULES_PER_KWH),
        measured=None if energy == 0 else float(measured / energy),
        co2_kg=float(energy / JOULES_PER_KWH * co2_per_kwh),
    )


def as_csv(found: Iterable[Line]) -> str:
    """The file as AUDITOR's plugin writes it, numbers in full. A name that a spreadsheet would compute is quoted."""
    text = _Text()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for line in found:
        efficiency = "" if line.efficiency is None else line.efficiency
        writer.writerow([_inert(line.name), line.khs23h, efficiency, line.corehours, line.energy_kwh, line.co2_kg])
    return "".join(text)


class _Text(list[str]):
    """Gathers what is written to it."""

    write = list.append


def _inert(name: str) -> str:
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>{title}</h1>
<table border="1" cellpadding="4" cellspacing="0">
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
<p>{note}</p>
</body>
</html>
"""


def as_html(title: str, found: Sequence[Line]) -> str:
    """The same as a page for a mail, with sentences on what the numbers are made of."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in HEADER)
    rows = "\n".join(_row(line) for line in found)
    return _PAGE.format(title=escape(title), head=head, rows=rows, note=escape(" ".join(notes(found))))


def notes(found: Sequence[Line]) -> list[str]:
    """Where the energy of the whole report comes from, and the jobs of which something is not known."""
    jobs = sum(line.jobs for line in found)
    said = [energy_note(found)]
    for column, known, lack in (
        ("cpu_eff", sum(line.known_jobs for line in found), "processor time or cores"),
        ("khs23h", sum(line.scored_jobs for line in found), "benchmark score"),
    ):
        if known < jobs:
            said.append(f"{column} is of {known:,} of {jobs:,} jobs; the others have no {lack}.")
    return said


def energy_note(found: Sequence[Line]) -> str:
    """Where the energy of the whole report comes from."""
    total = sum(line.energy_kwh for line in found)
    if total == 0:
        return "No energy is known: nothing was measured, and no watts per core are configured."
    measured = sum(line.energy_kwh * (line.measured or 0) for line in found) / total
    return f"Of the energy {measured:.0%} was measured, {1 - measured:.0%} is estimated from watts per core."


def _row(line: Line) -> str:
    efficiency = "" if line.efficiency is None else f"{line.efficiency:.1%}"
    numbers = (
        f"{line.khs23h:,.3f}",
        efficiency,
        *(f"{n:,.2f}" for n in (line.corehours, line.energy_kwh, line.co2_kg)),
    )
    cells = "".join(f'<td align="right">{number}</td>' for number in numbers)
    return f'<tr><td style="max-width:24em;overflow-wrap:anywhere">{escape(visible(line.name))}</td>{cells}</tr>'
