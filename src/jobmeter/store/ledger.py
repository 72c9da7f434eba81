"""What collectors reported, beside what is stored: the same statements for both databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import date, timedelta
from typing import Any, Protocol

from jobmeter.model.collection import Collection, CollectorState, Cost, DayCount, Reconciled

_DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1).toordinal()
_COUNTS = ("records", "again", "refused", "ignored", "delivered", "rejected", "dropped")
_LAST = "\U0010ffff"

_COST = ("up_us", "cpu_us", "peak_bytes")
_STATES = ("version", "prefix", "waiting", "letters", "oldest_seconds", "reported_us", *_COST)

_STATE = f"""INSERT INTO collectors (source, spool, {", ".join(_STATES)}) VALUES (?, ?, {", ".join("?" * len(_STATES))})
    ON CONFLICT (source, spool) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _STATES)}"""  # noqa: S608 - constants

_DAY = f"""INSERT INTO collected_days (day, source, spool, {", ".join(_COUNTS)}) VALUES (?, ?, ?, {", ".join("?" * 7)})
    ON CONFLICT (day, source, spool) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _COUNTS)}"""  # noqa: S608 - constants

_SUMS = f"""SELECT source, day, {", ".join(f"sum({name})" for name in _COUNTS)} FROM collected_days
    WHERE day >= ? AND day < ? GROUP BY source, day ORDER BY source, day"""  # noqa: S608 - constants

_STORED = """SELECT stop_us / 86400000000, count(*) FROM records WHERE stop_us >= ? AND stop_us < ?
    AND record_id >= ? AND record_id < ? GROUP BY 1"""


class Runner(Protocol):
    """One database, as far as the ledger needs it."""

    def many(self, statements: Sequence[tuple[str, Sequence[Sequence[object]]]]) -> None:
        """Run statements in one transaction, each with all its rows. Parameters are `?`."""
        ...

    def ask(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """The rows of a question."""
        ...


class Ledger:
    """See jobmeter.contract.Collections."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def keep(self, report: Collection, now_us: int) -> None:
        """Keep a report, durable on return; counts are totals, so a repeat changes nothing."""
        state = (
            report.source,
            report.spool,
            report.version,
            report.prefix,
            report.waiting,
            report.letters,
            report.oldest_seconds,
            now_us,
            *_cost_row(report.cost),
        )
        days = [
            (_number(count.day), report.source, report.spool, *(getattr(count, name) for name in _COUNTS))
            for count in report.days
        ]
        self._runner.many([(_STATE, [state]), (_DAY, days)])

    def states(self) -> list[CollectorState]:
        """How every spool was when it reported last."""
        rows = self._runner.ask(
            f"SELECT source, spool, version, waiting, letters, oldest_seconds, reported_us, {', '.join(_COST)} "  # noqa: S608
            "FROM collectors ORDER BY source, spool",
            (),
        )
        return [CollectorState(*(*row[:7], _cost(*row[7:]))) for row in rows]

    def reconciled(self, since: date, until: date, *, look_up: bool = True) -> list[Reconciled]:
        """See jobmeter.contract.Collections."""
        prefixes = self._prefixes() if look_up else {}
        first, end = _number(since), _number(until)
        counts = {
            (str(source), int(day)): DayCount(_date(day), *map(int, sums))
            for source, day, *sums in self._runner.ask(_SUMS, (first, end))
        }
        stored: dict[tuple[str, int], int] = {}
        for source, prefix in prefixes.items():
            bounds = (first * _DAY_US, end * _DAY_US, f"{prefix}-", f"{prefix}-{_LAST}")
            for day, number in self._runner.ask(_STORED, bounds) if prefix is not None else ():
                stored[source, int(day)] = int(number)
        return [
            Reconciled(
                source,
                counts.get((source, day), DayCount(_date(day))),
                None if prefixes.get(source) is None else stored.get((source, day), 0),
            )
            for source, day in sorted(counts.keys() | stored.keys())
        ]

    def _prefixes(self) -> dict[str, str | None]:
        """The prefix of each source; None where its collectors name none or differ, or two sources share one."""
        found: dict[str, set[str | None]] = {}
        for source, prefix in self._runner.ask("SELECT source, prefix FROM collectors", ()):
            found.setdefault(source, set()).add(prefix)
        clear = {source: next(iter(names)) if len(names) == 1 else None for source, names in found.items()}
        shared = list(clear.values())
        return {source: None if shared.count(prefix) > 1 else prefix for source, prefix in clear.items()}


def _cost_row(cost: Cost | None) -> tuple[int | None, ...]:
    if cost is None:
        return (None, None, None)
    return round(cost.up_seconds * 1e6), round(cost.cpu_seconds * 1e6), cost.peak_bytes


def _cost(up_us: int | None, cpu_us: int | None, peak_bytes: int | None) -> Cost | None:
    if up_us is None or cpu_us is None or peak_bytes is None:
        return None
    return Cost(up_us / 1e6, cpu_us / 1e6, peak_bytes)


def _number(day: date) -> int:
    return day.toordinal() - _EPOCH


def _date(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=int(number))


class SqliteRunner:
    """SQLite, by its store's own connections."""

    def __init__(
        self,
        writing: Callable[[], AbstractContextManager[Any]],
        reading: Callable[[], AbstractContextManager[Any]],
        answering: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._writing = writing
        self._reading = reading
        self._answering = answering

    def many(self, statements: Sequence[tuple[str, Sequence[Sequence[object]]]]) -> None:
        """See Runner."""
        with self._writing() as connection:
            for statement, rows in statements:
                connection.executemany(statement, rows)

    def ask(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """See Runner. Readers of this store give text as bytes."""
        with self._answering(), self._reading() as connection:
            rows = connection.execute(statement, values).fetchall()
        return [tuple(value.decode() if isinstance(value, bytes) else value for value in row) for row in rows]


class PostgresqlRunner:
    """PostgreSQL, by its store's own ways to write and to ask."""

    def __init__(
        self,
        write: Callable[[Callable[[Any], None]], None],
        ask: Callable[[str, Sequence[object]], list[Any]],
    ) -> None:
        self._write = write
        self._ask = ask

    def many(self, statements: Sequence[tuple[str, Sequence[Sequence[object]]]]) -> None:
        """See Runner."""

        def work(writer: Any) -> None:
            with writer.transaction(), writer.cursor() as cursor:
                for statement, rows in statements:
                    cursor.executemany(statement.replace("?", "%s"), rows)

        self._write(work)

    def ask(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """See Runner."""
        return self._ask(statement.replace("?", "%s"), values)
