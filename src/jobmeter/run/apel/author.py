"""Publishing to APEL: what the account says now is compared with what was accepted, and what differs is sent.

A month is reported as a whole, because the receiver replaces what it has of it. A report that cannot be made whole is
not made: the server did not answer in full, or the receiver would reject a message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from jobmeter.model.period import Period
from jobmeter.model.question import Bound, Column, Op, Question, Scope
from jobmeter.model.record import from_microseconds
from jobmeter.model.total import Extreme, TotalQuestion
from jobmeter.report.apel.gone import emptied, has_jobs
from jobmeter.report.apel.jobs import days_by_site, job_blocks, jobs_by_day, questions
from jobmeter.report.apel.message import Form, Message, messages
from jobmeter.report.apel.plan import Plan, plan
from jobmeter.report.apel.rules import faults
from jobmeter.report.apel.settings import Config
from jobmeter.report.apel.summary import SiteSummary, UnfitJob, jobs_by_site, summaries, unfit_jobs
from jobmeter.report.month import Month
from jobmeter.run.account import Account

UNFIT_SHOWN_MAX = 100
_EMPTIED = "it was published, and the account has no job to report of it any more; republish the month if that is right"
_DAY = timedelta(days=1)

log = logging.getLogger("jobmeter.report")


Key = tuple[str, ...]


class Report(Struct, frozen=True):
    """What one site says of one month or day: the messages under one key of the outbox, and what was counted.

    `unsendable` says why nothing can be sent; then there is no message.
    """

    key: Key
    messages: tuple[Message, ...]
    about: dict[str, int]
    unfit: tuple[UnfitJob, ...] = ()
    unsendable: str = ""


class Author:
    """Writes the reports of a configuration from an account.

    `published` gives what the receiver may hold under a key. A month of which no job is left is emptied only with
    `may_empty`: it may be that the wrong account was asked.
    """

    def __init__(
        self, config: Config, account: Account, published: Callable[[Key], Sequence[str]], *, may_empty: bool = False
    ) -> None:
        self._config = config
        self._account = account
        self._published = published
        self._may_empty = may_empty

    def first_month(self, now: datetime) -> Month:
        """The month of the first job that may be reported."""
        where = Question(Scope.everything(), runtime=(Bound(Op.GT, 0),))
        totals = self._account.totals(TotalQuestion(where, (), (Extreme(Column.STOP_TIME, latest=False),)))
        value = totals[0].measured[0].value if totals else None
        first = now if value is None else from_microseconds(int(value))
        since = self._config.site.publish_since
        return Month.of(first if since is None else max(first, since))

    def reports(self, month: Month, now: datetime, sites: Sequence[str]) -> Iterator[Report]:
        """The reports of `sites` for a month, those without a job left out. Raises AccountAway."""
        period = self._reported(month, now)
        if period.start >= period.stop:
            return
        if not self._config.reports_jobs:
            yield from self._summaries(month, period, now, sites)
            return
        days = days_by_site(self._config, self._account.totals(jobs_by_day(self._config, period)))
        for day in period.slices(_DAY):
            for site in sites:
                if day.start.date().isoformat() in days[site]:
                    yield from self._jobs(site, day, now)

    def _summaries(self, month: Month, period: Period, now: datetime, sites: Sequence[str]) -> Iterator[Report]:
        how = plan(self._config)
        jobs = jobs_by_site(self._config, self._account.totals(how.jobs(period)))
        ended = jobs_by_site(self._config, self._account.totals(how.ended(period)))
        keys = {name: ("apel", name, str(month)) for name in sites}
        sites = [name for name in sites if jobs[name] or self._published((*keys[name], "summary"))]
        if not sites:
            return
        said = summaries(self._config, how, month, self._account.totals(how.sums_of(period)))
        lacking = [name for name in sites if jobs[name] > said[name].jobs]
        unfit = self._unfit(how, period, lacking) if lacking else []
        form = Form.OLD_SUMMARY if self._config.is_older else Form.SUMMARY
        for name in sites:
            summary = said[name]
            about = _about(summary, jobs[name], ended[name])
            of_site = tuple(job for job in unfit if job.site == name)
            yield from self._checked((*keys[name], "summary"), form, summary.blocks, about, of_site, now)
            yield from self._checked((*keys[name], "sync"), Form.SYNC, summary.sync, {"jobs": summary.jobs}, (), now)

    def _jobs(self, site: str, day: Period, now: datetime) -> Iterator[Report]:
        asked = questions(self._config, site, day)
        made = job_blocks(self._config, site, (record for each in asked for record in self._account.records(each)))
        about = {"jobs": len(made.blocks), "unfit": len(made.unfit)}
        key = ("apel", site, day.start.date().isoformat(), "jobs")
        yield from self._checked(key, Form.JOBS, made.blocks, about, made.unfit, now)

    def _checked(  # noqa: PLR0913, PLR0917 - what a report is made of
        self,
        key: tuple[str, ...],
        form: Form,
        blocks: Sequence[str],
        about: dict[str, int],
        unfit: tuple[UnfitJob, ...],
        now: datetime,
    ) -> Iterator[Report]:
        """The report, unless it is empty; without a message where the receiver would reject one.

        Rows that were published before and are no more are part of it, without jobs.
        """
        published = self._published(key)
        if not blocks and has_jobs(form, published) and not self._may_empty:
            yield Report(key, (), about, unfit, _EMPTIED)
            return
        whole = (*blocks, *emptied(form, blocks, published))
        made = tuple(messages(form, whole, self._config.plugin.message_bytes))
        found = [fault for message in made for fault in faults(message.text, now)]
        if found:
            yield Report(key, (), about, unfit, f"the receiver would reject it, {len(found)} faults: {found[0].reason}")
        elif made or unfit:
            yield Report(key, made, about, unfit)

    def _unfit(self, how: Plan, period: Period, sites: Sequence[str]) -> list[UnfitJob]:
        """The jobs that are left out, with what they lack, day by day; no more than a person would read."""
        found: list[UnfitJob] = []
        for day in period.slices(_DAY):
            told = unfit_jobs(self._config, how, self._account.totals(how.each_job(day)))
            found += [job for job in told if job.site in sites]
            if len(found) >= UNFIT_SHOWN_MAX:
                break
        return found[:UNFIT_SHOWN_MAX]

    def _reported(self, month: Month, now: datetime) -> Period:
        """What is reported of a month: of summaries all of it, because part of a month would replace the whole."""
        period = month.period
        since = (self._config.site.publish_since if self._config.reports_jobs else None) or period.start
        return Period(max(period.start, since), min(period.stop, now))


def _about(summary: SiteSummary, jobs: int, ended: int) -> dict[str, int]:
    return {
        "jobs": summary.jobs,
        "wall_seconds": summary.wall_seconds,
        "cpu_seconds": summary.cpu_seconds,
        "unfit": max(summary.unfit, jobs - summary.jobs),
        "unrun": max(0, ended - jobs),
    }
