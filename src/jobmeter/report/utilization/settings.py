"""The configuration of the utilisation report: the file of AUDITOR's plugin, with what is ours added."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from jobmeter.settings.fault import WrongValue

_LISTED: dict[str, Any] = {"scalar_ok": True}
_SECONDS = {"unit": "seconds"}
_WATTS = Annotated[float, Meta(ge=0)]


class LogTo(Struct, frozen=True):
    """Which events are logged, and where."""

    unknown_keys: ClassVar[str] = "note"

    level: Annotated[
        Literal["trace", "debug", "info", "warning", "error", "critical"],
        Meta(description="Events to log.", extra={"any_case": True}),
    ] = "info"
    file: Annotated[str | None, Meta(description="A log file.")] = None


class ComponentNames(Struct, frozen=True):
    """What the components and the score are called in the records."""

    cores: Annotated[str, Meta(description="Component with the number of cores.")] = "Cores"
    benchmark: Annotated[str, Meta(description="Score of that component: the benchmark of a core.")] = "hepscore23"
    total_cpu: Annotated[str, Meta(description="Component with the processor time.")] = "TotalCPU"
    energy: Annotated[str, Meta(description="Component with the measured energy, in joules.")] = "Energy"


class Auditor(Struct, frozen=True):
    """The servers that have the records; each gets a report of its own."""

    unknown_keys: ClassVar[str] = "note"

    hosts: Annotated[tuple[str, ...], Meta(min_length=1, description="Addresses of servers.", extra=_LISTED)] = (
        "127.0.0.1",
    )
    port: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=65535)], ...],
        Meta(min_length=1, description="Their ports, in the same order.", extra=_LISTED),
    ] = (8000,)
    timeout: Annotated[int, Meta(ge=1, description="How long an answer may take.", extra=_SECONDS)] = 60
    site_meta_field: Annotated[tuple[str, ...], Meta(description="Meta keys that name the site.", extra=_LISTED)] = (
        "site_id",
        "site",
    )
    use_tls: Annotated[bool, Meta(description="Whether the servers are spoken to by https.")] = False
    ca_cert_path: Annotated[str | None, Meta(description="Certificate authority that signed the server's.")] = None
    client_cert_path: Annotated[str | None, Meta(description="Our certificate.")] = None
    client_key_path: Annotated[str | None, Meta(description="The key of our certificate.")] = None
    token_file: Annotated[str | None, Meta(description="File with the token that the servers ask for.")] = None
    component_fields_in_record: Annotated[
        ComponentNames, Meta(description="What components and score are called in the records.")
    ] = ComponentNames()
    collector_type: Annotated[
        Literal["htcondor", "slurm", "kubernetes"],
        Meta(description="What made the records. Accepted; processor times are seconds, see `cpu_unit`."),
    ] = "htcondor"
    cpu_unit: Annotated[
        Literal["seconds", "milliseconds"],
        Meta(description="Unit of the processor time; AUDITOR's Slurm collector wrote milliseconds before 0.11."),
    ] = "seconds"

    def __post_init__(self) -> None:
        if len(self.hosts) != len(self.port):
            raise WrongValue("port", f"has {len(self.port)} ports for {len(self.hosts)} hosts")


class Utilization(Struct, frozen=True):
    """What is reported."""

    unknown_keys: ClassVar[str] = "note"

    groupedby: Annotated[str, Meta(description="Meta key whose values get a line each.")] = "user_id"
    grouped_list: Annotated[
        tuple[str, ...], Meta(description="Texts to gather values by: a value counts for the first that it contains.")
    ] = ()
    watt_per_core: Annotated[_WATTS, Meta(description="Power of a core where nothing was measured, in watts.")] = 0
    co2_per_kwh: Annotated[_WATTS, Meta(description="Carbon dioxide per kilowatt-hour, in kilograms.")] = 0
    interval: Annotated[int, Meta(ge=1, description="From one report to the next.", extra=_SECONDS)] = 2_592_000
    file_name: Annotated[str, Meta(description="First part of the names of the files.")] = "auditor"
    file_path: Annotated[str, Meta(description="Their folder.")] = "."


class Cluster(Struct, frozen=True):
    """Power of a core by site."""

    watt_per_core: Annotated[
        dict[str, dict[str, _WATTS]], Meta(description="By the meta key of the site: watts of a core by its name.")
    ] = {}


class Email(Struct, frozen=True):
    """The report by mail. Sender, password and receiver come from SENDER_EMAIL, PASSWORD and RECEIVER_EMAIL."""

    unknown_keys: ClassVar[str] = "note"

    enable_email_report: Annotated[bool, Meta(description="Whether a mail is sent.")] = False
    smtp_server: Annotated[str, Meta(description="Host of the mail server.")] = "localhost"
    smtp_port: Annotated[int, Meta(ge=1, le=65535, description="Its port.")] = 25
    starttls: Annotated[
        Literal["auto", "always", "never"], Meta(description="Encryption: where it is offered, always, or never.")
    ] = "auto"


class Settings(Struct, frozen=True, kw_only=True):
    """All options of `jobmeter report utilization`."""

    unknown_keys: ClassVar[str] = "note"

    logging: Annotated[LogTo, Meta(description="Which events are logged, and where.")] = LogTo()
    auditor: Annotated[Auditor, Meta(description="The servers that have the records.")] = Auditor()
    utilization: Annotated[Utilization, Meta(description="What is reported.")] = Utilization()
    cluster: Annotated[Cluster, Meta(description="Power of a core by site.")] = Cluster()
    email: Annotated[Email, Meta(description="The report by mail.")] = Email()
    oneshot: Annotated[bool, Meta(description="Report once and end.")] = False
