"""Numbers, amounts and moments as people read them. What is absent stays visible as absent: a dash, never a zero."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

ABSENT = "–"  # noqa: RUF001 - an en dash, the sign for nothing in a table

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL = ("", "k", "M", "G", "T", "P")


def number(value: float | None, digits: int = 0) -> str:
    """12,345 or, with digits, 12,345.7."""
    return ABSENT if value is None else f"{value:,.{digits}f}"


def amount_bytes(value: float | None) -> str:
    """1.5 GiB."""
    return ABSENT if value is None else _scaled(float(value), 1024, _BINARY)


def watts(value: float | None) -> str:
    """1.5 kW."""
    return ABSENT if value is None else _scaled(float(value), 1000, tuple(f"{prefix}W" for prefix in _DECIMAL))


def percent(part: float | None) -> str:
    """42 % of 0.42; below ten with one digit."""
    if part is None:
        return ABSENT
    hundredths = part * 100
    return f"{hundredths:.0f} %" if hundredths >= 10 or hundredths == 0 else f"{hundredths:.1f} %"


def span(seconds: float | None) -> str:
    """A length of time with its two largest units: 3 d 4 h, 5 min 2 s, 0.4 s; from 100 days on in days."""
    if seconds is None:
        return ABSENT
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days >= 100:
        return f"{days:,} d"
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count:,} {unit}" for count, unit in parts[first : first + 2] if count or first == len(parts) - 1)


def ago(moment: datetime | None, now: datetime) -> str:
    """How long before now, or after, as text."""
    if moment is None:
        return ABSENT
    past = (now - moment).total_seconds()
    if -5 < past < 1:
        return "just now"
    return f"{span(past)} ago" if past > 0 else f"in {span(-past)}"


def moment(value: datetime | None) -> str:
    """2026-01-31 12:00:05 UTC."""
    return ABSENT if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def instant(time_ns: int) -> datetime:
    """The moment so many nanoseconds after 1970."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC)


def before(value: datetime, hours: float) -> datetime:
    """So many hours earlier."""
    return value - timedelta(hours=hours)


def iso(value: datetime) -> str:
    """For the attribute `datetime` of an element `time`, and for query strings."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _scaled(value: float, step: int, units: tuple[str, ...]) -> str:
    place = 0
    while abs(value) >= step and place < len(units) - 1:
        value /= step
        place += 1
    digits = 0 if place == 0 or abs(value) >= 100 else 1
    return f"{value:,.{digits}f} {units[place]}"
