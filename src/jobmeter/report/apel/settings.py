"""The configuration of the APEL reports: AUDITOR's file in both generations, with what is ours added.

The older had `authentication`, `message_type` and `publish_since`, the newer has `messaging`. A file may have both.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from jobmeter.report.apel.fields import Field
from jobmeter.report.apel.message import BENCHMARKS, JOB_FIELDS, SUMMARY_FIELDS
from jobmeter.settings.fault import WrongValue

MANDATORY = ("CpuDuration", "NormalisedCpuDuration", "NormalisedWallDuration")
NEWER_MANDATORY = ("Processors", "VO", "SubmitHost", *MANDATORY)
OURS = frozenset({"Site", "Month", "Year", "WallDuration", "EarliestEndTime", "LatestEndTime", "NumberOfJobs"})
"""What a message says that no field may be configured for."""

_LISTED: dict[str, Any] = {"scalar_ok": True}
_SECONDS = {"unit": "seconds"}


class Plugin(Struct, frozen=True):
    """How often and what is reported."""

    unknown_keys: ClassVar[str] = "note"

    time_json_path: Annotated[
        str, Meta(description="File with the time of the last report; the history stands beside it.")
    ] = "time.json"
    report_interval: Annotated[int, Meta(ge=1, description="From one report to the next.", extra=_SECONDS)] = 86_400
    log_level: Annotated[
        Literal["trace", "debug", "info", "warning", "error", "critical"],
        Meta(description="Events to log; trace shows the messages.", extra={"any_case": True}),
    ] = "info"
    log_file: Annotated[str | None, Meta(description="A log file.")] = None
    message_type: Annotated[
        Literal["summaries", "individual_jobs"] | None,
        Meta(description="What is sent: summaries, the default, or one block a job.", extra={"any_case": True}),
    ] = None
    message_version: Annotated[
        Literal["v0.3", "v0.4"] | None,
        Meta(description="Version of summaries; default: v0.3 with an `authentication` section, else v0.4."),
    ] = None
    recheck_months: Annotated[
        int,
        Meta(ge=0, description="So many months back are computed anew each time, and sent where they have changed."),
    ] = 12
    message_bytes: Annotated[
        int, Meta(ge=10_000, description="Largest text of one message; longer ones are divided between blocks.")
    ] = 500_000


class Site(Struct, frozen=True):
    """What is reported."""

    unknown_keys: ClassVar[str] = "note"

    sites_to_report: Annotated[
        dict[str, tuple[str, ...]], Meta(description="Names in the GOCDB, each with the sites of the records.")
    ]
    benchmark_type: Annotated[
        Literal["HEPscore23", "hepspec", "si2k"], Meta(description="The benchmark of scores.", extra={"any_case": True})
    ] = "HEPscore23"
    publish_since: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="Jobs that ended before are not reported; summaries begin with its whole month."),
    ] = None
    ce: Annotated[str, Meta(description="Kind of compute element, for InfrastructureDescription.")] = "UNKNOWN"

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name, ids in self.sites_to_report.items():
            if not name.strip() or not ids:
                raise WrongValue("sites_to_report", f"{name!r} needs a name and at least one site of the records")
            for each in ids:
                if seen.setdefault(each, name) != name or ids.count(each) > 1:
                    raise WrongValue("sites_to_report", f"{each!r} stands twice: its jobs would be counted twice")


class Messaging(Struct, frozen=True, kw_only=True):
    """The messaging service of the newer plugin."""

    unknown_keys: ClassVar[str] = "note"

    host: Annotated[str, Meta(description="Host of the service.")]
    port: Annotated[int, Meta(ge=1, le=65535, description="Port that gives the token.")] = 8443
    publish_port: Annotated[int, Meta(ge=1, le=65535, description="Port that takes messages.")] = 443
    client_cert: Annotated[str, Meta(description="Certificate that identifies and signs.")]
    client_key: Annotated[str, Meta(description="Its key.")]
    project: Annotated[str, Meta(description="Project of the topic.")]
    topic: Annotated[str, Meta(description="Topic to publish to.")]
    timeout: Annotated[int, Meta(ge=1, description="How long an answer may take.", extra=_SECONDS)] = 30
    retry: Annotated[int, Meta(ge=0, description="Further tries of one run; what is left is tried by the next.")] = 3
    ca_path: Annotated[str | None, Meta(description="Folder or file of authorities; default: the system's.")] = None


class Authentication(Struct, frozen=True, kw_only=True):
    """The messaging service of the older plugin."""

    unknown_keys: ClassVar[str] = "note"

    auth_url: Annotated[str, Meta(description="Address that gives the token.")]
    ams_url: Annotated[str, Meta(description="Address that takes messages; the token is put behind it.")]
    client_cert: Annotated[str, Meta(description="Certificate that identifies and signs.")]
    client_key: Annotated[str, Meta(description="Its key.")]
    ca_path: Annotated[str | None, Meta(description="Folder or file of authorities; default: the system's.")] = None
    verify_ca: Annotated[bool, Meta(description="Check the certificate of the service.")] = True


class Auditor(Struct, frozen=True):
    """The server that has the records."""

    unknown_keys: ClassVar[str] = "note"

    ip: Annotated[str, Meta(description="Address of the server.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="Port of the server.")] = 8000
    timeout: Annotated[int, Meta(ge=1, description="How long an answer may take.", extra=_SECONDS)] = 60
    site_meta_field: Annotated[
        tuple[str, ...], Meta(min_length=1, description="Meta keys that name the site, one or more.", extra=_LISTED)
    ] = ("site_id",)
    use_tls: Annotated[bool, Meta(description="Whether the server is spoken to by https.")] = False
    ca_cert_path: Annotated[str | None, Meta(description="Certificate authority that signed the server's.")] = None
    client_cert_path: Annotated[str | None, Meta(description="Our certificate.")] = None
    client_key_path: Annotated[str | None, Meta(description="The key of our certificate.")] = None
    token_file: Annotated[str | None, Meta(description="File with the token that the server asks for.")] = None

    def __post_init__(self) -> None:
        if not self.use_tls:
            return
        paths = ("ca_cert_path", "client_cert_path", "client_key_path")
        if missing := [name for name in paths if getattr(self, name) is None and self.token_file is None]:
            verb = "is" if len(missing) == 1 else "are"
            raise WrongValue("use_tls", f"{', '.join(missing)} {verb} required with use_tls, or a token_file")


class Fields(Struct, frozen=True):
    """Where the values of a message come from."""

    mandatory: Annotated[dict[str, Field], Meta(description="Fields that every message needs.")]
    optional: Annotated[dict[str, Field] | None, Meta(description="Further fields.")] = None

    @property
    def all(self) -> dict[str, Field]:
        """Both together."""
        return {**self.mandatory, **(self.optional or {})}


class Config(Struct, frozen=True, tag="Config", tag_field="type", kw_only=True):
    """All options of `jobmeter report apel`."""

    plugin: Annotated[Plugin, Meta(description="How often and what is reported.")]
    site: Annotated[Site, Meta(description="What is reported.")]
    messaging: Annotated[Messaging | None, Meta(description="The messaging service, as the newer plugin has it.")] = (
        None
    )
    authentication: Annotated[
        Authentication | None, Meta(description="The messaging service, as the older plugin has it.")
    ] = None
    auditor: Annotated[Auditor, Meta(description="The server that has the records.")] = Auditor()
    summary_fields: Annotated[Fields | None, Meta(description="Where the values of summaries come from.")] = None
    individual_job_fields: Annotated[Fields | None, Meta(description="Where the values of job messages come from.")] = (
        None
    )

    def __post_init__(self) -> None:
        if self.reports_jobs:
            _check("individual_job_fields", self.individual_job_fields, ("CpuDuration",), JOB_FIELDS)
        else:
            needed = MANDATORY if self.is_older else NEWER_MANDATORY
            _check("summary_fields", self.summary_fields, needed, SUMMARY_FIELDS)

    @property
    def reports_jobs(self) -> bool:
        """Whether a block a job is sent."""
        return self.plugin.message_type == "individual_jobs"

    @property
    def is_older(self) -> bool:
        """Whether summaries are of version 0.3."""
        if self.plugin.message_version is None:
            return self.messaging is None
        return self.plugin.message_version == "v0.3"

    @property
    def benchmark(self) -> str:
        """The benchmark, as it is written."""
        return BENCHMARKS[self.site.benchmark_type.lower()]


def not_offered(config: Config) -> list[str]:
    """What is missing without which nothing can be published, one sentence each."""
    sentences = []
    if config.messaging is None and config.authentication is None:
        sentences.append("messaging is missing: say where reports are sent to.")
    section = "individual_job_fields" if config.reports_jobs else "summary_fields"
    if getattr(config, section) is None:
        sentences.append(f"{section} is missing: say where the values of the messages come from.")
    return sentences


def _check(section: str, fields: Fields | None, needed: tuple[str, ...], known: tuple[str, ...]) -> None:
    if fields is None:
        return
    if missing := [name for name in needed if name not in fields.mandatory]:
        raise WrongValue(section, f"Fields {', '.join(missing)} are mandatory")
    for name in fields.all:
        if name in OURS or name not in known:
            raise WrongValue(section, f"{name} is not a field that can be set; there are: {', '.join(known)}")
