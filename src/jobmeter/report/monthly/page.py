"""The report as one page of HTML that needs nothing else: tables, bars as inline SVG, a style for paper."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape

from jobmeter.report.monthly.sums import Monthly, Sums
from jobmeter.report.visible import visible

SHOWN_MAX = 25
"""So many sites and groups have a line; the rest are one line together."""

_WIDTH, _HEIGHT, _FOOT = 720, 220, 34

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b }}
table {{ border-collapse: collapse; width: 100%; margin: 1rem 0 }}
th, td {{ padding: .25rem .6rem; border-bottom: 1px solid #ccc; text-align: right }}
td + td {{ white-space: nowrap }}
th:first-child, td:first-child {{ text-align: left; overflow-wrap: anywhere }}
tfoot td {{ font-weight: 600 }}
svg {{ width: 100%; height: auto }}
rect {{ fill: #2f5d8a }} text {{ font: 11px system-ui, sans-serif; fill: #1b1b1b }}
@page {{ size: A4; margin: 18mm }}
@media print {{
body {{ margin: 0; padding: 0; max-width: none }}
h2 {{ break-after: avoid }} tr, svg {{ break-inside: avoid }} tfoot {{ display: table-row-group }}
}}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{lead}</p>
{sections}
<p>{notes}</p>
</body>
</html>
"""


def page(report: Monthly, facility: str, co2_kg_per_kwh: float | None, made: datetime) -> str:
    """The page, with the moment at which the account was asked. What is not known is said to be so."""
    title = f"{facility}: {report.month}" if facility else f"Computing in {report.month}"
    sections = (
        _section("By site", _table("Site", report.sites, report.total)),
        _section("By group", _table("Group", report.groups, report.total)),
        _section("Core hours by month", bars({name: sums.core_hours for name, sums in report.course.items()})),
        _section("By month", _table("Month", report.course, None)),
    )
    return _PAGE.format(
        title=escape(title),
        lead=escape(lead(report, co2_kg_per_kwh)),
        sections="\n".join(sections),
        notes=escape(f"{_notes(report)} Made {made.astimezone(UTC):%Y-%m-%d %H:%M} UTC."),
    )


def lead(report: Monthly, co2_kg_per_kwh: float | None) -> str:
    """The month in two sentences."""
    total = report.total
    if not total.jobs:
        return f"No job ended in {report.month}."
    jobs = "1 job" if total.jobs == 1 else f"{total.jobs:,} jobs"
    text = f"{jobs} ended in {report.month}. They held {total.core_hours:,.0f} core hours"
    efficiency = total.efficiency
    text += (
        ", how much of them was used is not known." if efficiency is None else f" and used {efficiency:.0%} of them."
    )
    energy = total.kilowatt_hours
    if energy is None:
        return f"{text} Their energy is not known."
    text += f" They used {energy:,.1f} kWh, as far as it is known (of {total.energy_jobs:,} jobs)"
    if co2_kg_per_kwh is not None:
        text += f"; at {co2_kg_per_kwh:g} kg a kWh that is {energy * co2_kg_per_kwh:,.1f} kg of carbon dioxide"
    return f"{text}."


def bars(values: Mapping[str, float]) -> str:
    """A bar per name, as SVG with its numbers as text for those who do not see it."""
    largest = max(values.values(), default=0.0) or 1.0
    step = _WIDTH / max(len(values), 1)
    parts = []
    for place, (name, value) in enumerate(values.items()):
        height = (_HEIGHT - 20) * value / largest
        left, top = place * step, _HEIGHT - height
        parts.append(
            f'<rect x="{left + step * 0.15:.1f}" y="{top:.1f}" width="{step * 0.7:.1f}" height="{height:.1f}">'
            f"<title>{escape(name)}: {value:,.0f}</title></rect>"
            f'<text x="{left + step / 2:.1f}" y="{top - 4:.1f}" text-anchor="middle">{_short(value)}</text>'
            f'<text x="{left + step / 2:.1f}" y="{_HEIGHT + 16}" text-anchor="middle">{escape(name)}</text>'
        )
    told = ", ".join(f"{name} {value:,.0f}" for name, value in values.items())
    head = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img" aria-label="{escape(told)}">'
    return head + "".join(parts) + "</svg>"


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{body}\n</section>"


def _table(head: str, rows: Mapping[str | None, Sums] | Mapping[str, Sums], total: Sums | None) -> str:
    heads = (head, "Jobs", "Core hours", "Efficiency", "kWh")
    shown = list(rows.items())
    rest = Sums()
    if total is not None:
        shown.sort(key=lambda row: (-row[1].core_seconds, row[0] or ""))
        for _, sums in shown[SHOWN_MAX:]:
            rest = rest.plus(sums)
    lines = [_row("(none)" if name is None else name, sums) for name, sums in shown[:SHOWN_MAX]]
    if total is not None and len(shown) > SHOWN_MAX:
        lines.append(_row(f"{len(shown) - SHOWN_MAX} more", rest))
    foot = "" if total is None else f"<tfoot>{_row('All', total)}</tfoot>"
    titles = "".join(f'<th scope="col">{each}</th>' for each in heads)
    return f"<table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>\n{foot}</table>"


def _row(name: str, sums: Sums) -> str:
    efficiency = "not known" if sums.efficiency is None else f"{sums.efficiency:.1%}"
    energy = "not known" if sums.kilowatt_hours is None else f"{sums.kilowatt_hours:,.1f}"
    cells = "".join(f"<td>{cell}</td>" for cell in (f"{sums.jobs:,}", f"{sums.core_hours:,.1f}", efficiency, energy))
    return f"<tr><td>{escape(visible(name))}</td>{cells}</tr>"


def _notes(report: Monthly) -> str:
    total = report.total
    if not total.jobs:
        return "Jobs count in the month in which they ended, UTC."
    part = float(total.known_core_seconds / total.core_seconds) if total.core_seconds else 0.0
    return (
        f"Jobs count in the month in which they ended, UTC. Efficiency is processor time by core hours, of the jobs "
        f"whose processor time is known: {part:.0%} of the core hours. Energy is a sum over {total.energy_jobs:,} of "
        f"{total.jobs:,} jobs."
    )


def _short(value: float) -> str:
    for factor, mark in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.1f}{mark}"
    return f"{value:.0f}"
