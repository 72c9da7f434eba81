"""Curves of samples as a picture: a panel per metric, a line per node."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import Any

from jobmeter.model.series import SampleTable
from jobmeter.run.samples.print import Curve, human, moment, printable, shown_columns

WIDTH, PANEL, LEFT, TOP, BOTTOM, RIGHT = 1000, 190, 90, 28, 22, 20
PANELS_MAX = 60
GAP_SPACINGS = 5
"""Between points further apart than so many usual distances no line is drawn: nobody knows what was there."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which people with colour blindness tell apart."""


class PlotNotInstalled(Exception):  # noqa: N818 - the name says the fact
    """Pillow is missing."""


def draw(tables: Sequence[SampleTable]) -> bytes:
    """A PNG. Raises PlotNotInstalled."""
    try:
        from PIL import Image, ImageDraw  # noqa: PLC0415 - an extra
    except ImportError:
        raise PlotNotInstalled("drawing needs Pillow: pip install 'jobmeter[plot]'") from None
    panels: dict[str, list[Curve]] = {}
    for one in shown_columns(tables):
        if one.points:
            panels.setdefault(f"{one.metric.name} [{one.unit}]", []).append(one)
    chosen = list(panels.items())[:PANELS_MAX]
    image = Image.new("RGB", (WIDTH, max(PANEL * len(chosen), PANEL)), "white")
    pen: Any = ImageDraw.Draw(image)
    for place, (title, curves) in enumerate(chosen):
        _panel(pen, place * PANEL, printable(title), curves)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _panel(pen: Any, top: int, title: str, curves: Sequence[Curve]) -> None:
    points = [point for one in curves for point in one.points]
    first, last = min(time_ns for time_ns, _ in points), max(time_ns for time_ns, _ in points)
    low, high = min(0.0, *(value for _, value in points)), max(value for _, value in points)
    box = (LEFT, top + TOP, WIDTH - RIGHT, top + PANEL - BOTTOM)
    pen.rectangle(box, outline="#bbbbbb")
    pen.text((LEFT, top + 8), title, fill="black")
    pen.text((8, box[1]), human(high, curves[0].unit), fill="black")
    pen.text((8, box[3] - 12), human(low, curves[0].unit), fill="black")
    pen.text((LEFT, box[3] + 4), moment(first), fill="#555555")
    pen.text((WIDTH - RIGHT - 120, box[3] + 4), moment(last), fill="#555555")
    span, height = max(last - first, 1), (high - low) or 1.0
    for place, one in enumerate(curves):
        colour = COLOURS[place % len(COLOURS)]
        if len(curves) > 1 and place < len(COLOURS):
            pen.text((WIDTH - RIGHT - 110 * (place + 1), top + 8), printable(one.series.node)[:16], fill=colour)
        places = [
            (box[0] + (time_ns - first) * (box[2] - box[0]) / span, box[3] - (value - low) * (box[3] - box[1]) / height)
            for time_ns, value in one.points
        ]
        for run in _runs([time_ns for time_ns, _ in one.points]):
            part = places[run]
            if len(part) > 1:
                pen.line(part, fill=colour, width=2)
            else:
                pen.ellipse((part[0][0] - 1, part[0][1] - 1, part[0][0] + 1, part[0][1] + 1), fill=colour)


def _runs(times: Sequence[int]) -> list[slice]:
    """Where the curve has no gap."""
    steps = sorted(after - before for before, after in itertools.pairwise(times))
    usual = steps[len(steps) // 2] if steps else 0
    cuts = [place + 1 for place in range(len(times) - 1) if times[place + 1] - times[place] > GAP_SPACINGS * usual]
    return [slice(begin, end) for begin, end in zip([0, *cuts], [*cuts, len(times)], strict=True)]
