"""When something recurs: cron expressions of six fields, in UTC.

Second, minute, hour, day of the month, month, day of the week. A field is `*`, a number, a name (JAN, MON), a range
`1-5`, a step `*/15` or `10-40/10`, or several of these with commas; `?` is `*`. Sunday is 0 or 7. Where both a day of
the month and a day of the week are given, either is enough, as in cron(8).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), 1
    )
}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_YEARS_MAX = 30
"""29 February on a given day of the week comes back within 28 years, or 40 across a year like 2100."""


class Cron(Struct, frozen=True):
    """A parsed expression: for each field the values at which it holds."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def after(self, moment: datetime) -> datetime | None:
        """The first instant later than `moment`; None when there is none within decades (31 February)."""
        start = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        day = start.replace(hour=0, minute=0, second=0)
        end = day + timedelta(days=366 * _YEARS_MAX) if day.year < 9999 - _YEARS_MAX else day
        while day <= end:
            if self._on(day):
                found = self._within(day, start)
                if found is not None:
                    return found
            day += timedelta(days=1)
        return None

    def _on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return of_month and of_week
        return of_month or of_week

    def _within(self, day: datetime, start: datetime) -> datetime | None:
        for hour in self.hours:
            for minute in self.minutes:
                for second in self.seconds:
                    found = day.replace(hour=hour, minute=minute, second=second)
                    if found >= start:
                        return found
        return None


def parse_cron(text: str) -> Cron:
    """The expression `text`. Raises ValueError with a phrase that names the field."""
    parts = text.split()
    if len(parts) != len(_FIELDS):
        names = ", ".join(name for name, *_ in _FIELDS)
        raise ValueError(f"has {len(parts)} fields, six are needed: {names}")
    values = [_values(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
    seconds, minutes, hours, days, months, weekdays = values
    return Cron(
        tuple(sorted(seconds)),
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        frozenset(days),
        frozenset(months),
        frozenset(day % 7 for day in weekdays),
        any_day=parts[3] in ("*", "?"),
        any_weekday=parts[5] in ("*", "?"),
    )


def _values(part: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for piece in part.split(","):
        span, slash, step_text = piece.partition("/")
        step = _number(step_text, name, 1, high, {}) if slash else 1
        if span in ("*", "?"):
            first, last = low, high
        else:
            first_text, dash, last_text = span.partition("-")
            first = _number(first_text, name, low, high, names)
            last = _number(last_text, name, low, high, names) if dash else high if slash else first
        if last < first:
            raise ValueError(f"the {name} {piece!r} ends before it begins")
        found.update(range(first, last + 1, step))
    return found


def _number(text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    number = names.get(text.upper())
    if number is None and text.isascii() and text.isdigit() and len(text) <= 4:
        number = int(text)
    if number is None or not low <= number <= high:
        raise ValueError(f"the {name} {text[:40]!r} is not from {low} to {high}")
    return number
