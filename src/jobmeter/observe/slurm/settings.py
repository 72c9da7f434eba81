"""The options of the Slurm job source: AUDITOR's YAML of both generations, and ours beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from jobmeter.observe.shape.rules import ComponentRule, MetaRule, Rules, SiteRule
from jobmeter.observe.slurm.states import canonical_state
from jobmeter.settings.deployment import (
    Deployment,
    Earliest,
    Logging,
    LogLevel,
    Metrics,
    SelfMetrics,
    ServerAddr,
    ServerPort,
    ServerTls,
    ServerToken,
    ServerTokenFile,
    SpoolBounds,
    WaitingRoom,
    database_file,
)
from jobmeter.settings.fault import WrongValue

TimeUnit = Literal["seconds", "milliseconds"]


class JobFilter(Struct, frozen=True):
    """Which jobs are collected. An empty list leaves nothing out."""

    unknown_keys: ClassVar[str] = "note"

    status: Annotated[
        tuple[str, ...],
        Meta(description="States in which a job must have ended, by name or abbreviation; empty: any."),
    ] = ("completed",)
    partition: Annotated[tuple[str, ...], Meta(description="Partitions.")] = ()
    user: Annotated[tuple[str, ...], Meta(description="Users.")] = ()
    group: Annotated[tuple[str, ...], Meta(description="Groups.")] = ()
    account: Annotated[tuple[str, ...], Meta(description="Accounts.")] = ()

    def __post_init__(self) -> None:
        for number, name in enumerate(self.status):
            if canonical_state(name) is None:
                raise WrongValue(f"status[{number}]", f"{name!r} is not a job state of Slurm")
        for field in ("partition", "user", "group", "account"):
            for name in getattr(self, field):
                if not name or "," in name or name.startswith("-"):
                    raise WrongValue(field, f"{name!r} cannot be given to sacct")


class Settings(Struct, frozen=True, kw_only=True):
    """All options of `jobmeter collect slurm`. An unknown key at the top is an error, further in a note."""

    environment_prefix: ClassVar[str] = "AUDITOR_SLURM_COLLECTOR_"

    addr: ServerAddr = "127.0.0.1"
    port: ServerPort = 8000
    record_prefix: Annotated[str, Meta(description="First part of every record id.")] = "slurm"
    job_filter: Annotated[JobFilter, Meta(description="Which jobs are collected.")] = JobFilter()
    sacct_frequency: Annotated[int, Meta(ge=1, description="Seconds between two readings of sacct.")] = 10
    sender_frequency: Annotated[int, Meta(ge=1, description="Seconds between two looks into the spool.")] = 1
    earliest_datetime: Annotated[
        Earliest,
        Meta(description="Jobs that ended from then on are collected at the first start; default: now."),
    ] = None
    database_path: Annotated[
        str, Meta(description="AUDITOR's state database, read once; the spool stands beside it, with `.spool` added.")
    ] = "sqlite://testdb.db"
    sites: Annotated[tuple[SiteRule, ...], Meta(description="Sites; the first that matches is taken.")] = (
        SiteRule("NOT_CONFIGURED"),
    )
    meta: Annotated[tuple[MetaRule, ...] | None, Meta(description="Columns that become meta values.")] = None
    components: Annotated[tuple[ComponentRule, ...], Meta(description="Columns that become components.")] = (
        ComponentRule("Cores", "NCPUS"),
    )
    log_level: LogLevel = "info"
    logging: Annotated[Logging | None, Meta(description="Log file, as AUDITOR 0.11 has it.")] = None
    tls_config: ServerTls = None
    token: ServerToken = None
    token_file: ServerTokenFile = None

    time_unit: Annotated[
        TimeUnit | None,
        Meta(
            description="Unit of columns of the type Time. Default: seconds where the file has `tls_config` or "
            "`logging` (AUDITOR since 0.11), else milliseconds (before)."
        ),
    ] = None
    sacct_path: Annotated[
        str | None, Meta(description="The command; default: /usr/bin/sacct if it is there, else from PATH.")
    ] = None
    sacct_format: Annotated[
        Literal["auto", "json", "text"], Meta(description="What sacct is asked for; auto: JSON where it serves.")
    ] = "auto"
    sacct_timeout_seconds: Annotated[float, Meta(gt=0, description="A sacct that runs longer is killed.")] = 300
    sacct_output_bytes: Annotated[
        int, Meta(ge=4096, description="When sacct writes more, a shorter time is asked for.")
    ] = 64 * 2**20
    cluster: Annotated[str | None, Meta(description="The cluster to ask for (sacct -M); default: the local one.")] = (
        None
    )
    slice_seconds: Annotated[int, Meta(ge=60, description="Longest time that one sacct is asked for.")] = 86_400
    settle_seconds: Annotated[
        int, Meta(ge=0, description="A job is taken when it ended this long ago: its last steps are stored after it.")
    ] = 60
    overlap_seconds: Annotated[
        int, Meta(ge=0, description="How far back every reading looks again, for jobs stored late.")
    ] = 3600
    sweep_seconds: Annotated[int, Meta(ge=0, description="How far back the deeper sweep looks again; 0: none.")] = (
        172_800
    )
    sweep_every_seconds: Annotated[int, Meta(ge=1, description="Seconds between two deeper sweeps.")] = 3600
    spool: WaitingRoom = SpoolBounds()
    metrics: SelfMetrics = Metrics()

    def __post_init__(self) -> None:
        if not self.sites:
            raise WrongValue("sites", "is empty: no job would belong anywhere")
        if self.cluster is not None and not re.fullmatch(r"[\w.-]+", self.cluster):
            raise WrongValue("cluster", f"{self.cluster!r} is not the name of one cluster")

    @property
    def rules(self) -> Rules:
        """How jobs become records."""
        return Rules(self.sites, self.meta or (), self.components)

    @property
    def unit(self) -> TimeUnit:
        """The unit of durations: as told, else that of the AUDITOR release which the file was written for."""
        if self.time_unit is not None:
            return self.time_unit
        return "milliseconds" if self.tls_config is None and self.logging is None else "seconds"

    @property
    def state_file(self) -> Path:
        """AUDITOR's own state database, which is read and never written."""
        return database_file(self.database_path)

    @property
    def deployment(self) -> Deployment:
        """What the daemon around the source needs to know."""
        return Deployment(
            prefix=self.record_prefix or None,
            source="slurm" if self.cluster is None else f"slurm@{self.cluster}",
            addr=self.addr,
            port=self.port,
            tls=self.tls_config,
            token=self.token,
            token_file=self.token_file,
            read_every_seconds=self.sacct_frequency,
            send_every_seconds=self.sender_frequency,
            spool_file=self.spool.file_beside(self.state_file),
            spool=self.spool,
            log_level=self.log_level,
            logging=self.logging,
            metrics=self.metrics,
        )
