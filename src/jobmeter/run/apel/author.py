"""Publishing to APEL: what the account says now is compared with what was accepted, and what differs is sent.

A month is reported as a whole, because the receiver replaces what it has of it. A report that cannot be made whole is
not made: the server did not answer in full, or the receiver would reject a message.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from jobmeter.model.period import Period
from jobmeter.model.question import Bound, Column, Op, Question, Scope
from jobmeter.model.record import from_microseconds
from jobmeter.model.total import Extreme, TotalQuestion
from jobmeter.report.apel.jobs import days_by_site, job_blocks, jobs_by_day, questions
from jobmeter.report.apel.message import Form, Message, messages
from jobmeter.report.apel.plan import Plan, plan
from jobmeter.report.apel.rules import faults
from jobmeter.report.apel.settings import Config
from jobmeter.report.apel.summary import SiteSummary, UnfitJob, jobs_by_site, summaries, unfit_jobs
from jobmeter.report.month import Month
from jobmeter.run.account import Account

UNFIT_SHOWN_MAX = 100
_DAY = timedelta(days=1)

log = logging.getLogger("jobmeter.report")


class Report(Struct, frozen=True):
    """What one site says of one month or day: the messages under one key of the outbox, and what was counted."""

    key: tuple[str, ...]
    messages: tuple[Message, ...]
    about: dict[str, int]
    unfit: tuple[UnfitJob, ...] = ()


class Author:
    """Writes the reports of a configuration from an account."""

    def __init__(self, config: Config, account: Account) -> None:
        self._config = config
        self._account = account

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
        sites = [name for name in sites if jobs[name]]
        if not sites:
            return
        said = summaries(self._config, how, month, self._account.totals(how.sums_of(period)))
        lacking = [name for name in sites if jobs[name] > said[name].jobs]
        unfit = self._unfit(how, period, lacking) if lacking else []
        for name in sites:
            summary = said[name]
            about = _about(summary, jobs[name], ended[name])
            form = Form.OLD_SUMMARY if self._config.is_older else Form.SUMMARY
            of_site = tuple(job for job in unfit if job.site == name)
            key = ("apel", name, str(month))
            yield from self._checked((*key, "summary"), form, summary.blocks, about, of_site, now)
            yield from self._checked((*key, "sync"), Form.SYNC, summary.sync, {"jobs": summary.jobs}, (), now)

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
        """The report, unless it is empty or the receiver would reject it; then it is told and nothing of it is sent."""
        made = tuple(messages(form, blocks, self._config.plugin.message_bytes))
        for message in made:
            if found := faults(message.text, now):
                log.error("apel.unsendable key=%s faults=%d first=%r", "/".join(key), len(found), found[0].reason)
                return
        if made or unfit:
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
        period = month.period
        since = self._config.site.publish_since or period.start
        return Period(max(period.start, since), min(period.stop, now))


def _about(summary: SiteSummary, jobs: int, ended: int) -> dict[str, int]:
    return {
        "jobs": summary.jobs,
        "wall_seconds": summary.wall_seconds,
        "cpu_seconds": summary.cpu_seconds,
        "unfit": max(summary.unfit, jobs - summary.jobs),
        "unrun": max(0, ended - jobs),
    }
