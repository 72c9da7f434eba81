"""Messages with a block per job, in which each record speaks for itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from jobmeter.model.period import Period
from jobmeter.model.question import MetaCondition, Question
from jobmeter.model.record import Record
from jobmeter.model.total import MetaDimension, TimeDimension, TimeUnit, Total, TotalQuestion
from jobmeter.report.apel.fields import Missing, values
from jobmeter.report.apel.message import Form, block
from jobmeter.report.apel.plan import ended_in
from jobmeter.report.apel.settings import Config
from jobmeter.report.apel.summary import UnfitJob, site_of


class JobBlocks(Struct, frozen=True):
    """What one site says of the jobs of a time."""

    blocks: tuple[str, ...]
    unfit: tuple[UnfitJob, ...]


def questions(config: Config, site: str, period: Period) -> Iterator[Question]:
    """The questions whose answers together are the jobs of a site that ended in `period`, some of them twice."""
    for key in config.auditor.site_meta_field:
        for name in config.site.sites_to_report[site]:
            yield replace(ended_in(period), meta=(MetaCondition(key, contains=(name,)),))


def jobs_by_day(config: Config, period: Period) -> TotalQuestion:
    """How many jobs of each site ended on each day of `period`."""
    sites = tuple(map(MetaDimension, config.auditor.site_meta_field))
    return TotalQuestion(ended_in(period), (*sites, TimeDimension(TimeUnit.DAY)))


def days_by_site(config: Config, totals: Iterable[Total]) -> dict[str, set[str]]:
    """The days on which jobs of each site ended, as `2024-03-01`, from the answer to `jobs_by_day`."""
    days: dict[str, set[str]] = {name: set() for name in config.site.sites_to_report}
    for total in totals:
        if (site := site_of(config, total.key)) is not None:
            days[site].add(str(total.key[-1]))
    return days


def job_blocks(config: Config, site: str, records: Iterable[Record]) -> JobBlocks:
    """A block for each record, each record once, in the order of their ids."""
    if config.individual_job_fields is None:
        raise ValueError("individual_job_fields are missing")
    fields = config.individual_job_fields.all
    blocks: list[str] = []
    unfit: list[UnfitJob] = []
    by_id = {record.record_id: record for record in records}
    for _, record in sorted(by_id.items()):
        if record.stop_time is None:
            continue
        try:
            said = values(fields, record)
        except Missing as fault:
            unfit.append(UnfitJob(site, record.record_id, (str(fault),)))
            continue
        own = {
            "Site": site,
            "LocalJobId": record.record_id,
            "WallDuration": record.runtime_seconds,
            "StartTime": int(record.start_time.timestamp()),
            "EndTime": int(record.stop_time.timestamp()),
        }
        blocks.append(block(Form.JOBS, {**said, **own}))
    return JobBlocks(tuple(blocks), tuple(unfit))
