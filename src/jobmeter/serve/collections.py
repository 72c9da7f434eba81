"""`POST /v2/collections`: collectors report; `GET /v2/reconciliation`: that, the account, and what was published."""

from __future__ import annotations

from datetime import date, timedelta
from urllib.parse import parse_qsl

from msgspec import Struct

from jobmeter.contract import Clock, RecordStore, StoreUnavailable
from jobmeter.keeping import PublicationStore
from jobmeter.model.collection import CollectorState, Cost, Reconciled
from jobmeter.model.period import Period
from jobmeter.model.question import Scope as Whole
from jobmeter.model.record import from_microseconds, microseconds
from jobmeter.report.month import Month
from jobmeter.report.standing import Standing, standings, stored_jobs, stored_of
from jobmeter.serve.answer import UNANSWERED, Problem, Receive, Scope, Send, send_away, send_json
from jobmeter.serve.asker import asker_of
from jobmeter.serve.body import BodyRefused, Disconnected, read_body
from jobmeter.serve.reads import Readers
from jobmeter.wire.collection import BadCollection, decode_collection

DAYS_DEFAULT = 31
DAYS_MAX = 3660
PUBLICATIONS_MAX = 100_000


class Taken(Struct, frozen=True):
    """The answer to a report: how many days were taken."""

    days: int


class DayLine(Struct, frozen=True):
    """One source and day. seen = stored + dead + ignored + waiting + gap.

    `stored` is null where the account cannot tell a source's records; then what was delivered counts in its place.
    """

    source: str
    day: date
    seen: int
    stored: int | None
    dead: int
    ignored: int
    waiting: int
    gap: int
    records: int
    delivered: int
    refused: int
    rejected: int
    dropped: int


class CollectorLine(Struct, frozen=True):
    """One spool, as it was when it reported last."""

    source: str
    spool: str
    version: str
    waiting: int
    dead_letters: int
    oldest_seconds: int | None
    last_seen: str
    cost: Cost | None


class MonthLine(Struct, frozen=True):
    """A month of a site as it was published to one receiver. stored = published + unfit + unrun + gap.

    `of_sites` are the sites of the account whose jobs are published under `site`. Where nothing was accepted only
    `stored` is a number.
    """

    month: str
    site: str
    of_sites: tuple[str, ...]
    receiver: str
    stored: int | None
    published: int | None
    unfit: int | None
    unrun: int | None
    gap: int | None


class Reconciliation(Struct, frozen=True):
    """All days asked for, the whole months that they lie in, and all collectors.

    There are no `months` where only one source is asked for: what is published is not told apart by source.
    """

    since: date
    until: date
    days: list[DayLine]
    collectors: list[CollectorLine]
    months: list[MonthLine]


class ReportOfCollector:
    """`POST /v2/collections`."""

    def __init__(self, store: RecordStore, readers: Readers, clock: Clock, limit_bytes: int) -> None:
        self._store = store
        self._readers = readers
        self._clock = clock
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Keep the report. A repeat changes nothing."""
        try:
            report = decode_collection(await read_body(scope, receive, self._limit_bytes))
            await self._readers.ask(self._store.ledger.keep, report, microseconds(self._clock.now()))
        except BodyRefused as refusal:
            return await send_json(send, refusal.status, Problem(str(refusal)))
        except BadCollection as fault:
            return await send_json(send, 400, Problem(str(fault)))
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        except Disconnected:
            return UNANSWERED
        return await send_json(send, 200, Taken(len(report.days)))


class Reconcile:
    """`GET /v2/reconciliation?since=DAY&until=DAY&source=NAME`; until is not included, and by default tomorrow."""

    def __init__(
        self, store: RecordStore, publications: PublicationStore | None, readers: Readers, clock: Clock
    ) -> None:
        self._store = store
        self._publications = publications
        self._readers = readers
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """What was seen, stored and not, per source and day. It shows all sources, so it needs a reader of all."""
        del receive
        everything = asker_of(scope).scope
        if everything.any_of is not None:
            return await send_json(send, 403, Problem("reconciliation shows all records; you may see some of them"))
        try:
            since, until, source = self._asked(scope["query_string"])
        except ValueError as fault:
            return await send_json(send, 400, Problem(str(fault)))
        ledger = self._store.ledger
        try:
            found = await self._readers.ask(ledger.reconciled, since, until)
            states = await self._readers.ask(ledger.states)
            months = [] if source is not None else await self._readers.ask(self._months, since, until, everything)
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        lines = [_line(one) for one in found if source in (None, one.source)]
        collectors = [_collector(state) for state in states if source in (None, state.source)]
        return await send_json(send, 200, Reconciliation(since, until, lines, collectors, months))

    def _months(self, since: date, until: date, everything: Whole) -> list[MonthLine]:
        """What was published of each month that the days lie in, where somebody told of it."""
        first, last = Month.of_day(since), Month.of_day(until - timedelta(days=1))
        kept = self._publications
        told = [] if kept is None else kept.between(str(first), str(last), PUBLICATIONS_MAX)
        if not told:
            return []
        question = stored_jobs(Period(first.period.start, last.period.stop), everything)
        return [_month(one) for one in standings(stored_of(self._store.totals(question)), told)]

    def _asked(self, query: bytes) -> tuple[date, date, str | None]:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        given = dict(pairs)
        if len(given) != len(pairs) or not given.keys() <= {"since", "until", "source"}:
            raise ValueError("since, until and source are understood, each once")
        until = _day(given, "until") or self._clock.now().date() + timedelta(days=1)
        since = _day(given, "since") or until - timedelta(days=DAYS_DEFAULT)
        if not 0 < (until - since).days <= DAYS_MAX:
            raise ValueError(f"until must be after since, by at most {DAYS_MAX} days")
        return since, until, given.get("source")


def _day(given: dict[str, str], key: str) -> date | None:
    text = given.get(key)
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{key}: {text[:20]!r} is no day, such as 2024-01-31") from None


def _line(one: Reconciled) -> DayLine:
    counts = one.counts
    return DayLine(
        one.source,
        counts.day,
        one.seen,
        one.stored,
        one.dead,
        counts.ignored,
        counts.waiting,
        one.gap,
        counts.records,
        counts.delivered,
        counts.refused,
        counts.rejected,
        counts.dropped,
    )


def _month(one: Standing) -> MonthLine:
    return MonthLine(
        one.month,
        one.site,
        one.of_sites,
        one.receiver,
        one.stored,
        one.published,
        one.unfit,
        one.unrun,
        one.gap,
    )


def _collector(state: CollectorState) -> CollectorLine:
    seen = from_microseconds(state.reported_us).isoformat(timespec="seconds").replace("+00:00", "Z")
    return CollectorLine(
        state.source, state.spool, state.version, state.waiting, state.letters, state.oldest_seconds, seen, state.cost
    )
