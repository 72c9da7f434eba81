"""The options of the OAR job source, in the words of AUDITOR's Slurm collector where the thing is the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from jobmeter.observe.oar.job import ALIASES, COLUMNS, ENDED_STATES
from jobmeter.observe.shape.rules import ComponentRule, MetaRule, Rules, SiteRule
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
)
from jobmeter.settings.fault import WrongValue

DEFAULT_SPOOL = Path("/var/lib/jobmeter/oar.spool")

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PASSWORD = re.compile(r"\bpassword\s*=|//[^/@]*:[^/@]*@", re.IGNORECASE)


class JobFilter(Struct, frozen=True):
    """Which jobs are collected. An empty list leaves nothing out."""

    state: Annotated[
        tuple[Literal["Terminated", "Error"], ...],
        Meta(description="States in which a job must have ended; a job that was killed or deleted ends in Error."),
    ] = ()
    queue: Annotated[tuple[str, ...], Meta(description="Queues.")] = ()
    user: Annotated[tuple[str, ...], Meta(description="Users.")] = ()
    project: Annotated[tuple[str, ...], Meta(description="Projects.")] = ()


class Settings(Struct, frozen=True, kw_only=True):
    """All options of `jobmeter collect oar`."""

    environment_prefix: ClassVar[str] = "JOBMETER_OAR_"

    addr: ServerAddr = "127.0.0.1"
    port: ServerPort = 8000
    tls_config: ServerTls = None
    token: ServerToken = None
    token_file: ServerTokenFile = None
    record_prefix: Annotated[str, Meta(min_length=1, description="First part of every record id.")] = "oar"
    cluster: Annotated[
        str | None, Meta(description="A name for this OAR, where the spool serves collectors of several.")
    ] = None
    read_from: Annotated[
        Literal["oarstat", "database"],
        Meta(description="How OAR is asked: by its own command (OAR 2), or in its PostgreSQL database (OAR 2 and 3)."),
    ] = "oarstat"
    oarstat_path: Annotated[str, Meta(description="The command.")] = "oarstat"
    oarnodes_path: Annotated[str, Meta(description="The command.")] = "oarnodes"
    warnings: Annotated[
        Literal["refuse", "ignore"],
        Meta(
            description="What an answer of oarstat is worth that came with words on the standard error. OAR 2.5 tells "
            "a failing database nowhere else."
        ),
    ] = "refuse"
    database: Annotated[
        str, Meta(description="libpq address of OAR's database, for a user that may read; without a password.")
    ] = "host=localhost dbname=oar user=oar_ro"
    password_file: Annotated[
        str | None, Meta(description="File with the password, in the form of ~/.pgpass; default: that one.")
    ] = None
    psql_path: Annotated[str, Meta(description="The command.")] = "psql"
    core_property: Annotated[
        str, Meta(description="The property of OAR's resources that numbers cores; resources without it are cores.")
    ] = "core"
    job_filter: Annotated[JobFilter, Meta(description="Which jobs are collected.")] = JobFilter()
    sites: Annotated[tuple[SiteRule, ...], Meta(description="Sites; the first that matches is taken.")] = (
        SiteRule("NOT_CONFIGURED"),
    )
    meta: Annotated[tuple[MetaRule, ...], Meta(description="Columns that become meta values.")] = ()
    components: Annotated[tuple[ComponentRule, ...], Meta(description="Columns that become components.")] = (
        ComponentRule("Cores", "cores"),
    )
    earliest_datetime: Annotated[
        Earliest,
        Meta(description="Jobs that ended from then on are collected at the first start; default: now."),
    ] = None
    read_every_seconds: Annotated[int, Meta(ge=1, description="Seconds between two readings.")] = 60
    send_every_seconds: Annotated[int, Meta(ge=1, description="Seconds between two looks into the spool.")] = 1
    timeout_seconds: Annotated[float, Meta(gt=0, description="A command that runs longer is killed.")] = 600
    output_bytes: Annotated[
        int, Meta(ge=4096, description="When a command writes more, a shorter time is asked for.")
    ] = 16 * 2**20
    slice_seconds: Annotated[int, Meta(ge=60, description="Longest time that is asked for at once.")] = 21_600
    settle_seconds: Annotated[
        int, Meta(ge=0, description="A job is taken when it ended this long ago: OAR may still be writing about it.")
    ] = 30
    overlap_seconds: Annotated[
        int, Meta(ge=0, description="How far back every reading looks again, for jobs that OAR finished late.")
    ] = 3600
    sweep_seconds: Annotated[int, Meta(ge=0, description="How far back the deeper sweep looks again; 0: none.")] = (
        172_800
    )
    sweep_every_seconds: Annotated[int, Meta(ge=1, description="Seconds between two deeper sweeps.")] = 14_400
    spool: Annotated[
        SpoolBounds, Meta(description=f"Where and how much may wait for the server; default path: {DEFAULT_SPOOL}.")
    ] = SpoolBounds()
    metrics: SelfMetrics = Metrics()
    log_level: LogLevel = "info"
    logging: Annotated[Logging | None, Meta(description="A log file beside the standard error.")] = None

    def __post_init__(self) -> None:
        if not self.sites:
            raise WrongValue("sites", "is empty: no job would belong anywhere")
        if _WORD.fullmatch(self.core_property) is None:
            raise WrongValue("core_property", f"{self.core_property!r} is not the name of a property")
        if _PASSWORD.search(self.database) is not None:
            raise WrongValue("database", "holds a password, which every user of the machine could see", "password_file")
        for column in self.rules.columns():
            if ALIASES.get(column.lower(), column.lower()) not in COLUMNS:
                raise WrongValue("components", f"names {column!r}; the columns are {', '.join(sorted(COLUMNS))}")

    @property
    def rules(self) -> Rules:
        """How jobs become records."""
        return Rules(self.sites, self.meta, self.components)

    @property
    def states(self) -> tuple[str, ...]:
        """The states in which a job must have ended."""
        return self.job_filter.state or ENDED_STATES

    @property
    def deployment(self) -> Deployment:
        """What the daemon around the source needs to know."""
        return Deployment(
            prefix=self.record_prefix or None,
            source="oar" if self.cluster is None else f"oar@{self.cluster}",
            addr=self.addr,
            port=self.port,
            tls=self.tls_config,
            token=self.token,
            token_file=self.token_file,
            read_every_seconds=self.read_every_seconds,
            send_every_seconds=self.send_every_seconds,
            spool_file=DEFAULT_SPOOL if self.spool.path is None else Path(self.spool.path),
            spool=self.spool,
            metrics=self.metrics,
            log_level=self.log_level,
            logging=self.logging,
        )
