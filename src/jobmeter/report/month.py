"""A month of the calendar, in UTC: what accounts are settled by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime

from msgspec import Struct

from jobmeter.model.period import Period

_TEXT = re.compile(r"(\d{4})-(\d{2})")


class Month(Struct, frozen=True, order=True):
    """`number` is 1 for January."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> Month:
        """The month that an aware moment lies in."""
        utc = moment.astimezone(UTC)
        return cls(utc.year, utc.month)

    @classmethod
    def of_day(cls, day: date) -> Month:
        """The month that a day lies in."""
        return cls(day.year, day.month)

    @classmethod
    def parse(cls, text: str) -> Month:
        """The month of `2024-03`. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if found is None or not 1 <= int(found[2]) <= 12 or int(found[1]) < 1:
            raise ValueError(f"{text!r} is no month, written 2024-03")
        return cls(int(found[1]), int(found[2]))

    @property
    def period(self) -> Period:
        """From its first moment to that of the next month."""
        return Period(_first(self), _first(self.next))

    @property
    def next(self) -> Month:
        """The month after."""
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    def until(self, last: Month) -> Iterator[Month]:
        """This month and those after it up to and including `last`."""
        month = self
        while month <= last:
            yield month
            month = month.next

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


def _first(month: Month) -> datetime:
    return datetime(month.year, month.number, 1, tzinfo=UTC)
