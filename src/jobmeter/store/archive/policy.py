"""Which records are to be archived: whole months by the time at which they stopped, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from jobmeter.model.record import from_microseconds, microseconds


class Month(Struct, frozen=True, order=True):
    """A calendar month in UTC. A record belongs to that in which it stopped; one that never stopped to none."""

    year: int
    number: int

    @classmethod
    def of(cls, moment_us: int) -> Month:
        """The month of an instant, in microseconds since 1970."""
        moment = from_microseconds(moment_us)
        return cls(moment.year, moment.month)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    def earlier(self, months: int) -> Month:
        """The month so many before; never before the year 1."""
        index = max(self.year * 12 + self.number - 1 - months, 12)
        return Month(index // 12, index % 12 + 1)

    @property
    def first_us(self) -> int:
        """Its first instant, in microseconds since 1970."""
        return microseconds(datetime(self.year, self.number, 1, tzinfo=UTC))

    @property
    def last_us(self) -> int:
        """Its last microsecond."""
        if (self.year, self.number) == (9999, 12):
            return microseconds(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
        return self.earlier(-1).first_us - 1


def cutoff_us(now: datetime, older_than_months: int) -> int:
    """The instant from which on records stay: with 1 in November those that stopped in October and later stay."""
    return Month.of(microseconds(now)).earlier(older_than_months).first_us
