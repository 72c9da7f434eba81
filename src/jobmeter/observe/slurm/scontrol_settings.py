"""The options of the Slurm epilog: AUDITOR's YAML of both generations, and ours beside it.

This module is imported for every job that ends, so it imports little: `regex` only when a condition is set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from jobmeter.observe.shape.rules import OnlyIf, Score, check_column
from jobmeter.settings.deployment import (
    Deployment,
    Hook,
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
)

DEFAULT_SPOOL = Path("/var/lib/jobmeter-epilog/jobs.spool")

JOB_VARIABLE = "SLURM_JOB_ID"
START_VARIABLE = "SLURM_JOB_START_TIME"
END_VARIABLE = "SLURM_JOB_END_TIME"
CONTEXT_VARIABLE = "SLURM_SCRIPT_CONTEXT"

JOB_VARIABLES = (
    JOB_VARIABLE,
    "SLURM_JOB_NAME",
    START_VARIABLE,
    END_VARIABLE,
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_HET_JOB_ID",
    "SLURM_HET_JOB_OFFSET",
    "SLURM_JOB_RESTART_COUNT",
    CONTEXT_VARIABLE,
)
"""What is kept of the epilog's environment to ask for a job again."""


class ComponentRule(Struct, frozen=True):
    """A value of scontrol that becomes a component."""

    unknown_keys: ClassVar[str] = "note"

    name: Annotated[str, Meta(description="Name of the component.")]
    key: Annotated[str, Meta(description="A name that `scontrol show job --details` prints before a `=`.")]
    scores: Annotated[tuple[Score, ...], Meta(description="Factors of the component.")] = ()
    only_if: Annotated[OnlyIf | None, Meta(description="Given only where this holds.")] = None

    def __post_init__(self) -> None:
        check_column(self.key)


class Settings(Struct, frozen=True, kw_only=True):
    """All options of `jobmeter collect slurm-epilog`, which Slurm calls when a job ends. Unknown keys are noted."""

    unknown_keys: ClassVar[str] = "note"
    environment_prefix: ClassVar[str] = "AUDITOR_"
    hook_variable: ClassVar[str] = JOB_VARIABLE

    addr: ServerAddr = "127.0.0.1"
    port: ServerPort = 8000
    record_prefix: Annotated[str, Meta(min_length=1, description="First part of every record id.")] = "slurm"
    site_id: Annotated[str, Meta(min_length=1, description="The site's name, kept as meta site_id.")] = "none"
    components: Annotated[tuple[ComponentRule, ...], Meta(description="Values of scontrol that become components.")] = (
        ComponentRule("Cores", "NumCPUs"),
    )
    log_level: LogLevel = "info"
    logging: Annotated[Logging | None, Meta(description="Log file, as AUDITOR 0.11 has it.")] = None
    tls_config: ServerTls = None
    token: ServerToken = None
    token_file: ServerTokenFile = None

    time_unit: Annotated[
        Literal["seconds", "milliseconds"] | None,
        Meta(
            description="Unit of components that are durations, such as RunTime. Default: seconds where the file has "
            "`tls_config` or `logging` (AUDITOR since 0.11), else milliseconds (before)."
        ),
    ] = None
    scontrol_path: Annotated[
        str | None, Meta(description="The command; default: /usr/bin/scontrol if it is there, else from PATH.")
    ] = None
    scontrol_format: Annotated[
        Literal["auto", "json", "text"], Meta(description="What scontrol is asked for; auto: JSON where it serves.")
    ] = "auto"
    scontrol_timeout_seconds: Annotated[
        float, Meta(gt=0, description="A scontrol that runs longer is killed; the job is asked for again later.")
    ] = 10
    failure_exit_status: Annotated[
        int,
        Meta(
            ge=0,
            le=255,
            description="What Slurm is told when a job could not be taken. A node epilog that ends with anything but 0 "
            "makes Slurm drain the node.",
        ),
    ] = 0
    deliver_seconds: Annotated[
        float, Meta(ge=0, description="How long a detached process tries to deliver after a job; 0: none is started.")
    ] = 20
    ask_again_seconds: Annotated[
        int, Meta(ge=1, description="How often the daemon asks again for the jobs that could not be taken.")
    ] = 15
    give_up_seconds: Annotated[
        int,
        Meta(ge=1, description="When a job could not be taken for so long it becomes a dead letter; see MinJobAge."),
    ] = 3600
    spool: WaitingRoom = SpoolBounds()
    metrics: SelfMetrics = Metrics()

    @property
    def unit(self) -> Literal["seconds", "milliseconds"]:
        """The unit of durations: as told, else that of the AUDITOR release which the file was written for."""
        if self.time_unit is not None:
            return self.time_unit
        return "milliseconds" if self.tls_config is None and self.logging is None else "seconds"

    @property
    def deployment(self) -> Deployment:
        """What the command around the source needs to know."""
        return Deployment(
            prefix=self.record_prefix or None,
            source="slurm-epilog",
            addr=self.addr,
            port=self.port,
            tls=self.tls_config,
            token=self.token,
            token_file=self.token_file,
            read_every_seconds=self.ask_again_seconds,
            send_every_seconds=1,
            spool_file=DEFAULT_SPOOL if self.spool.path is None else Path(self.spool.path),
            spool=self.spool,
            log_level=self.log_level,
            logging=self.logging,
            metrics=self.metrics,
            hook=Hook(
                kept_variables=JOB_VARIABLES,
                failure_exit_status=self.failure_exit_status,
                deliver_seconds=self.deliver_seconds,
                give_up_seconds=self.give_up_seconds,
            ),
        )
