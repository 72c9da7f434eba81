"""The configuration of the priorities: AUDITOR's file in both generations, with what is ours added."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from jobmeter.report.priority.command import BadTemplate, looked_into, missing_places, words
from jobmeter.report.priority.spread import Mode
from jobmeter.settings.deployment import Logging, Tls
from jobmeter.settings.fault import WrongValue

DEFAULT_COMMAND = "/usr/bin/scontrol update PartitionName={1} PriorityJobFactor={priority}"
_SECONDS = {"unit": "seconds"}


class Auditor(Struct, frozen=True):
    """The server that has the records."""

    unknown_keys: ClassVar[str] = "note"

    addr: Annotated[str, Meta(description="Address of the server.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="Port of the server.")] = 8000
    timeout: Annotated[int, Meta(ge=1, description="How long an answer may take.", extra=_SECONDS)] = 30
    token_file: Annotated[str | None, Meta(description="File with the token that the server asks for.")] = None


class Prometheus(Struct, frozen=True):
    """Where the last results can be read."""

    unknown_keys: ClassVar[str] = "note"

    metrics: Annotated[
        tuple[Literal["ResourceUsage", "Priority"], ...],
        Meta(description="What is shown: ResourceUsage, Priority.", extra={"any_case": True}),
    ] = ("ResourceUsage", "Priority")
    enable: Annotated[bool, Meta(description="Whether anything is shown.")] = True
    addr: Annotated[str, Meta(description="Address to listen on.")] = "0.0.0.0"  # noqa: S104 - AUDITOR's default
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on.")] = 9090


class Settings(Struct, frozen=True, kw_only=True):
    """All options of `jobmeter report priority`."""

    unknown_keys: ClassVar[str] = "note"

    auditor: Annotated[Auditor, Meta(description="The server that has the records.")] = Auditor()
    components: Annotated[
        dict[str, str],
        Meta(description="Components that count, each with the score that weighs it; none: time alone counts."),
    ]
    group_mapping: Annotated[
        dict[str, tuple[str, ...]], Meta(description="Groups that get a priority, each with texts for the commands.")
    ]
    commands: Annotated[
        tuple[str, ...],
        Meta(description="Run for each group, without a shell: {priority} {resource} {group} {1} {2} … are replaced."),
    ] = (DEFAULT_COMMAND,)
    command: Annotated[tuple[str, ...] | None, Meta(description="The same, as older files have it.")] = None
    group_meta_key: Annotated[str, Meta(description="Meta key that names the group of a record.")] = "group_id"
    min_priority: Annotated[int, Meta(ge=0, le=2**63 - 1, description="The lowest priority.")] = 0
    max_priority: Annotated[int, Meta(ge=0, le=2**63 - 1, description="The highest priority.")] = 1024
    duration: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Jobs that ended within this time count; without it, all of them.", extra=_SECONDS),
    ] = None
    frequency: Annotated[int, Meta(ge=1, description="From one computation to the next.", extra=_SECONDS)] = 3600
    computation_mode: Annotated[
        Mode, Meta(description="FullSpread uses the whole range, ScaledBySum shares it out.", extra={"any_case": True})
    ] = Mode.SCALED_BY_SUM
    combine: Annotated[
        Literal["sum", "product"],
        Meta(description="Several components of a record are added; the superseded program multiplied them."),
    ] = "sum"
    command_seconds: Annotated[float, Meta(gt=0, description="How long a command may take.")] = 60
    prometheus: Annotated[Prometheus | None, Meta(description="Where the last results can be read.")] = None
    log_level: Annotated[
        Literal["trace", "debug", "info", "warn", "error"],
        Meta(description="Which events are logged.", extra={"any_case": True}),
    ] = "info"
    logging: Annotated[Logging | None, Meta(description="Log file.")] = None
    tls_config: Annotated[Tls | None, Meta(description="Encryption and client certificate.")] = None

    def __post_init__(self) -> None:
        if self.min_priority > self.max_priority:
            raise WrongValue("min_priority", f"is {self.min_priority}, above max_priority {self.max_priority}")
        for number, template in enumerate(self.templates):
            try:
                split = words(template)
            except BadTemplate as fault:
                raise WrongValue(f"commands[{number}]", str(fault)) from None
            for group, mapping in self.group_mapping.items():
                if missing := missing_places(split, mapping):
                    raise WrongValue("group_mapping", f"{group!r} has no text for {', '.join(missing)} of a command")
                if texts := looked_into(split, group, mapping):
                    mend = "hand it over as an argument: bash -c '… \"$1\"' _ {group}"
                    raise WrongValue("group_mapping", f"{texts[0]!r} would be run by the shell of a command; {mend}")

    @property
    def templates(self) -> tuple[str, ...]:
        """The commands."""
        return self.commands if self.command is None else self.command
