"""What is archived, when and where: our own settings, and AUDITOR's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from jobmeter.model.cron import Cron, parse_cron
from jobmeter.settings.fault import WrongValue

Compression = Literal["zstd", "Gzip", "Snappy"]
Months = Annotated[int, Meta(ge=0, le=1200)]
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
PREFIX_DEFAULT = "jobmeter"
_PREFIX = r"^[A-Za-z0-9._-]{1,64}$"
SCHEDULE_DEFAULT = "0 0 3 * * *"
"""Every night at 03:00 UTC: a late record waits a day and not a month; a night without work costs one question."""


class ArchiveSettings(Struct, frozen=True):
    """Moving old records from the database to Parquet files, where queries go on finding them."""

    older_than_months: Annotated[
        Months | None,
        Meta(
            description="Archive the months before this many whole ones; with 1 in November, October stays. "
            "Nothing is archived unless it is given."
        ),
    ] = None
    path: Annotated[
        str | None,
        Meta(
            description="Folder of the files, by default `archive` beside an SQLite database; for one database alone."
        ),
    ] = None
    file_prefix: Annotated[
        str, Meta(description="First part of the files' names.", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    ] = PREFIX_DEFAULT
    compression: Annotated[Compression, Meta(description="How the files are compressed.", extra={"any_case": True})] = (
        "zstd"
    )
    cron_schedule: Annotated[str, Meta(description="When to archive: six cron fields (second first), in UTC.")] = (
        SCHEDULE_DEFAULT
    )

    def __post_init__(self) -> None:
        _checked("cron_schedule", self.cron_schedule)


class ArchivalConfig(Struct, frozen=True):
    """AUDITOR's archiving to Parquet: done as by `archive`, and once more at the start of the server."""

    unknown_keys: ClassVar[str] = "note"

    archive_older_than_months: Annotated[Months | None, Meta(description="Age in months from which records move.")] = (
        None
    )
    archive_path: Annotated[str | None, Meta(description="Directory of the archive files.")] = None
    archive_file_prefix: Annotated[
        str, Meta(description="First part of the names of the archive files.", pattern=_PREFIX)
    ] = "auditor"
    cron_schedule: Annotated[str | None, Meta(description="When to archive, six cron fields in UTC.")] = None
    compression_type: Annotated[Compression, Meta(description="Gzip, Snappy or zstd.", extra={"any_case": True})] = (
        "Gzip"
    )

    def __post_init__(self) -> None:
        if self.cron_schedule is not None:
            _checked("cron_schedule", self.cron_schedule)


def _checked(key: str, text: str) -> None:
    try:
        cron = parse_cron(text)
    except ValueError as fault:
        raise WrongValue(key, str(fault)) from None
    if cron.after(_SOME_DAY) is None:
        raise WrongValue(key, "never comes")


class Archiving(Struct, frozen=True):
    """What is asked for, whichever table it stood in. `folder` None: beside the database."""

    older_than_months: int
    folder: str | None
    prefix: str
    compression: Compression
    schedule: Cron
    at_start: bool


def archiving_of(ours: ArchiveSettings, auditors: ArchivalConfig | None) -> Archiving | None:
    """What is asked for, None when nothing is. `archive_faults` must have found nothing."""
    if auditors is not None:
        return Archiving(
            auditors.archive_older_than_months or 0,
            auditors.archive_path,
            auditors.archive_file_prefix,
            auditors.compression_type,
            parse_cron(auditors.cron_schedule or SCHEDULE_DEFAULT),
            at_start=True,
        )
    if ours.older_than_months is None:
        return None
    return Archiving(
        ours.older_than_months,
        ours.path,
        ours.file_prefix,
        ours.compression,
        parse_cron(ours.cron_schedule),
        at_start=False,
    )


def archive_faults(ours: ArchiveSettings, auditors: ArchivalConfig | None) -> list[str]:
    """Why what is asked for cannot be done, one sentence each."""
    if auditors is None:
        return []
    needed = ("archive_older_than_months", "archive_path", "cron_schedule")
    faults = [f"archival_config.{key} is missing" for key in needed if getattr(auditors, key) is None]
    if ours.older_than_months is not None:
        faults.append("archival_config and archive are both given: keep one of them")
    return faults
