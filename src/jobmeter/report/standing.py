"""How a month stands: what collectors saw, what the account holds, and what was published of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from jobmeter.model.collection import Reconciled
from jobmeter.model.period import Period
from jobmeter.model.publication import Fate, Publication
from jobmeter.model.question import Bound, Op, Question, Scope
from jobmeter.model.record import microseconds
from jobmeter.model.total import Dimension, MetaDimension, TimeDimension, TimeUnit, Total, TotalQuestion
from jobmeter.report.month import Month

SITE_KEYS = ("site_id", "site")
"""Meta keys under which a record names its site; the first that it has counts."""

Stored = Mapping[tuple[str, str], int]
"""Jobs in the account by month and site; "" where a job names none."""


class Standing(Struct, frozen=True):
    """A month of a site: jobs in the account, jobs that were published, and what the last message became.

    `site` is the name that it is published under, `of_sites` those of the account whose jobs that are. Of what was
    accepted `published` jobs were counted, `unfit` left out because they lack something that the receiver wants, and
    `unrun` because they have no runtime; all None where nothing was accepted. `stored` is None where the account knows
    none of the sites.
    """

    month: str
    site: str
    of_sites: tuple[str, ...]
    receiver: str
    stored: int | None
    published: int | None
    unfit: int | None
    unrun: int | None
    newest: Publication | None

    @property
    def gap(self) -> int | None:
        """Jobs in the account that are neither published nor left out with a reason; None where nothing is known."""
        if self.stored is None or self.published is None:
            return None
        return self.stored - self.published - (self.unfit or 0) - (self.unrun or 0)


class Collected(Struct, frozen=True):
    """A month of all job sources. seen = delivered + dead + ignored + waiting + gap."""

    month: str
    seen: int
    delivered: int
    dead: int
    ignored: int
    waiting: int
    gap: int


def stored_jobs(period: Period, scope: Scope) -> TotalQuestion:
    """The question for the jobs of each site and month of whole months."""
    ended = Bound(Op.GTE, microseconds(period.start)), Bound(Op.LT, microseconds(period.stop))
    keys: tuple[Dimension, ...] = (*map(MetaDimension, SITE_KEYS), TimeDimension(TimeUnit.MONTH))
    return TotalQuestion(Question(scope, stop_time=ended), keys)


def stored_of(totals: Iterable[Total]) -> Stored:
    """The answer to it."""
    jobs: dict[tuple[str, str], int] = {}
    for total in totals:
        *names, month = total.key
        key = str(month), next((str(name) for name in names if name is not None), "")
        jobs[key] = jobs.get(key, 0) + int(total.measured[0].value or 0)
    return jobs


def standings(stored: Stored, told: Sequence[Publication]) -> list[Standing]:
    """One for each month, site and receiver that was told of (`told`: the newest first), and one for each month and
    site of the account that was published nowhere. The newest month first.
    """
    by_key: dict[tuple[str, str, str], list[Publication]] = {}
    for one in told:
        by_key.setdefault((one.month, one.site, one.receiver), []).append(one)
    known = {site for _, site in stored}
    found = [_published(stored, known, ours) for ours in by_key.values()]
    covered = {(one.month, site) for one in found for site in one.of_sites}
    found += [
        Standing(month, site, (site,), "", jobs, None, None, None, None)
        for (month, site), jobs in stored.items()
        if (month, site) not in covered
    ]
    found.sort(key=lambda one: (one.site, one.receiver))
    return sorted(found, key=lambda one: one.month, reverse=True)


def _published(stored: Stored, known: set[str], told: Sequence[Publication]) -> Standing:
    """What the publications about one month and site for one receiver say."""
    newest = told[0]
    counting: dict[tuple[int, str], Publication] = {}
    for one in told:
        if one.fate is Fate.ACCEPTED and one.what != "sync":
            counting.setdefault((one.day, one.what), one)

    def counted(name: str) -> int | None:
        return sum(one.counts.get(name, 0) for one in counting.values()) if counting else None

    return Standing(
        newest.month,
        newest.site,
        newest.sites,
        newest.receiver,
        None if known.isdisjoint(newest.sites) else sum(stored.get((newest.month, site), 0) for site in newest.sites),
        counted("jobs"),
        counted("unfit"),
        counted("unrun"),
        newest,
    )


def collected(days: Iterable[Reconciled]) -> list[Collected]:
    """The days that collectors told of, by month, the newest first."""
    months: dict[str, list[Reconciled]] = {}
    for day in days:
        months.setdefault(str(Month.of_day(day.counts.day)), []).append(day)
    return [
        Collected(
            month,
            sum(day.seen for day in ours),
            sum(day.held for day in ours),
            sum(day.dead for day in ours),
            sum(day.counts.ignored for day in ours),
            sum(day.counts.waiting for day in ours),
            sum(day.gap for day in ours),
        )
        for month, ours in sorted(months.items(), reverse=True)
    ]
