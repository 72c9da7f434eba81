"""The settings of the server.

One family of Structs reads our TOML and AUDITOR's YAML: the keys are AUDITOR's, ours are added.

Keys that AUDITOR has and this release does not act on are known, so that an AUDITOR file is read without a fault; what
would silently weaken the server (TLS or access rules asked for, archiving asked for) is told by `not_offered`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from jobmeter.serve.access import AccessSettings
from jobmeter.serve.joined import JoinSettings
from jobmeter.settings.deployment import Logging
from jobmeter.settings.samples import SampleStoreSettings

DatabaseMetric = Literal["RecordCount", "RecordCountPerSite", "RecordCountPerGroup", "RecordCountPerUser"]
LogLevel = Literal["trace", "debug", "info", "warn", "error", "off"]
Port = Annotated[int, Meta(ge=0, le=65535)]
Names = tuple[str, ...]
_LISTED: dict[str, Any] = {"scalar_ok": True}


class Application(Struct, frozen=True):
    """Where the server listens."""

    addr: Annotated[Names, Meta(description="Addresses to listen on, a list or one.", extra=_LISTED)] = ("127.0.0.1",)
    port: Annotated[Port, Meta(description="Port to listen on; 0 takes a free one.")] = 8000
    web_workers: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="AUDITOR's number of worker threads. Accepted; one process serves all."),
    ] = None


class Database(Struct, frozen=True):
    """A PostgreSQL database, by AUDITOR's keys."""

    host: Annotated[str, Meta(description="Host of the PostgreSQL server.")] = "localhost"
    port: Annotated[Port, Meta(description="Port of the PostgreSQL server.")] = 5432
    username: Annotated[str, Meta(description="User of the database.")] = "postgres"
    password: Annotated[str, Meta(description="Password of the user.", extra={"secret": True})] = "password"  # noqa: S105 - AUDITOR's default
    database_name: Annotated[str, Meta(description="Name of the database.")] = "auditor"
    require_ssl: Annotated[bool, Meta(description="Refuse a connection to the database that is not encrypted.")] = False

    @property
    def url(self) -> str:
        """The same as one address, every part escaped."""
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
        user = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}"
        mode = "require" if self.require_ssl else "prefer"
        return f"postgresql://{user}@{host}:{self.port}/{quote(self.database_name, safe='')}?sslmode={mode}"


class DatabaseMetrics(Struct, frozen=True):
    """Which counts of stored records `/metrics` shows."""

    frequency: Annotated[
        float,
        Meta(description="Time from one count of the database to the next.", gt=0, extra={"unit": "seconds"}),
    ] = 30
    metrics: Annotated[
        tuple[DatabaseMetric, ...], Meta(description="The counts to show; none by default.", extra={"any_case": True})
    ] = ()
    meta_key_site: Annotated[str, Meta(description="Meta key that names the site.")] = "site"
    meta_key_group: Annotated[str, Meta(description="Meta key that names the group.")] = "group"
    meta_key_user: Annotated[str, Meta(description="Meta key that names the user.")] = "user"


class Metrics(Struct, frozen=True):
    """What `/metrics` shows beyond the server's own state."""

    database: Annotated[DatabaseMetrics, Meta(description="Counts of stored records.")] = DatabaseMetrics()


class LogFiles(Logging, frozen=True, forbid_unknown_fields=True):
    """A log file, with AUDITOR's keys."""

    log_file_prefix: Annotated[str, Meta(description="Its name, before `.log`.")] = "auditor_logs"


class TlsConfig(Struct, frozen=True):
    """AUDITOR's TLS. This release does not offer it and refuses to start when it is on."""

    use_tls: Annotated[bool, Meta(description="Serve HTTPS with client certificates. Only false can be served now.")]
    https_addr: Annotated[Names, Meta(description="Addresses of the HTTPS server.", extra=_LISTED)] = ()
    https_port: Annotated[Port, Meta(description="Port of the HTTPS server.")] = 8443
    ca_cert_path: Annotated[str | None, Meta(description="Certificates that client certificates are checked with.")] = (
        None
    )
    server_cert_path: Annotated[str | None, Meta(description="The server's certificate.")] = None
    server_key_path: Annotated[str | None, Meta(description="The server's private key.")] = None


class DataRule(Struct, frozen=True):
    """Which records a reader may see, by AUDITOR's keys."""

    reader_cn: Annotated[str, Meta(description="Common name of the reader's certificate.")]
    meta_info: Annotated[dict[str, tuple[str, ...]], Meta(description="Meta keys and the values that may be seen.")]


class RbacConfig(Struct, frozen=True):
    """AUDITOR's access rules. This release does not offer them and refuses to start when they are on."""

    enforce_rbac: Annotated[bool, Meta(description="Apply the access rules. Only false can be served now.")] = True
    monitoring_role_cn: Annotated[Names, Meta(description="Who may read /metrics, by common name.", extra=_LISTED)] = ()
    write_access_cn: Annotated[Names, Meta(description="Who may write records, by common name.", extra=_LISTED)] = ()
    read_access_cn: Annotated[Names, Meta(description="Who may read records, by common name.", extra=_LISTED)] = ()
    data_access_rules: Annotated[tuple[DataRule, ...], Meta(description="Who may see which records.")] = ()
    base_policies: Annotated[
        tuple[tuple[str, ...], ...], Meta(description="AUDITOR's triples of role, path, method.")
    ] = ()


class ArchivalConfig(Struct, frozen=True):
    """AUDITOR's archiving to Parquet. This release does not offer it and refuses to start when it is asked for."""

    unknown_keys: ClassVar[str] = "note"

    archive_older_than_months: Annotated[int | None, Meta(description="Age in months from which records move.")] = None
    archive_path: Annotated[str | None, Meta(description="Directory of the archive files.")] = None
    archive_file_prefix: Annotated[str, Meta(description="First part of the names of the archive files.")] = "auditor"
    cron_schedule: Annotated[str | None, Meta(description="When to archive, six cron fields in UTC.")] = None
    compression_type: Annotated[str, Meta(description="Gzip or Snappy.")] = "Gzip"


class Limits(Struct, frozen=True):
    """What one request, one connection and the server as a whole may take."""

    body_bytes: Annotated[
        int, Meta(description="Largest body of a request, also after decompression.", ge=1024, le=2**30)
    ] = 2_097_152
    request_seconds: Annotated[float, Meta(description="Within this time a whole request must have arrived.", gt=0)] = (
        60
    )
    reader_seconds: Annotated[
        float, Meta(description="A reader that takes nothing of an answer for this long is cut off.", gt=0)
    ] = 30
    keep_alive_seconds: Annotated[int, Meta(description="How long an idle connection is kept.", ge=1)] = 75
    shutdown_seconds: Annotated[int, Meta(description="How long a stop waits for answers in progress.", ge=1)] = 30
    connections: Annotated[int, Meta(description="Connections at a time; further ones are closed.", ge=1)] = 4096
    streams: Annotated[int, Meta(description="Lists of records being sent at a time; further ones get 503.", ge=1)] = 32
    waiting_records: Annotated[int, Meta(description="Records that may wait to be written.", ge=1)] = 50_000
    group_records: Annotated[int, Meta(description="Records that are written in one transaction.", ge=1)] = 4000


class ServeSettings(Struct, frozen=True):
    """Everything that `jobmeter serve` can be told."""

    environment_prefix: ClassVar[str] = "JOBMETER"

    environment: Annotated[
        str | None, Meta(description="AUDITOR's name for the kind of installation. Accepted, not used.")
    ] = None
    application: Annotated[Application, Meta(description="Where the server listens.")] = Application()
    database_url: Annotated[
        str | None,
        Meta(
            description="The record store, sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME; before `database`.",
            extra={"secret": True},
        ),
    ] = None
    database: Annotated[Database | None, Meta(description="A PostgreSQL database, by AUDITOR's keys.")] = None
    metrics: Annotated[Metrics, Meta(description="What /metrics shows.")] = Metrics()
    limits: Annotated[Limits, Meta(description="Bounds on requests, connections and memory.")] = Limits()
    log_level: Annotated[
        LogLevel, Meta(description="Events from this level on are logged.", extra={"any_case": True})
    ] = "info"
    logging: Annotated[LogFiles, Meta(description="A log file.")] = LogFiles()
    ignore_record_exists_error: Annotated[
        bool, Meta(description="Answer 200 with a warning where a record with other content exists already.")
    ] = False
    auditor_status_codes: Annotated[
        bool, Meta(description="Answer duplicates and unknown record ids with AUDITOR's own status codes.")
    ] = False
    access: Annotated[AccessSettings, Meta(description="Who may do what.")] = AccessSettings()
    samples: Annotated[SampleStoreSettings, Meta(description="A store of samples, served beside the records.")] = (
        SampleStoreSettings()
    )
    join: Annotated[JoinSettings, Meta(description="Which record belongs to the samples of a job.")] = JoinSettings()
    tls_config: Annotated[TlsConfig | None, Meta(description="AUDITOR's TLS.")] = None
    rbac_config: Annotated[RbacConfig | None, Meta(description="AUDITOR's access rules.")] = None
    archival_config: Annotated[ArchivalConfig | None, Meta(description="AUDITOR's archiving to Parquet.")] = None


def not_offered(settings: ServeSettings) -> list[str]:
    """What the settings ask for that this release cannot do and must not leave out silently, one sentence each."""
    sentences = []
    if settings.tls_config is not None and settings.tls_config.use_tls:
        sentences.append(
            "tls_config.use_tls is on, but this release serves no TLS: put a TLS proxy in front, or set it to false."
        )
    if settings.rbac_config is not None and settings.rbac_config.enforce_rbac:
        sentences.append(
            "rbac_config is on, but this release has no access rules: remove it only if everyone may read and write."
        )
    if settings.archival_config is not None:
        sentences.append(
            "archival_config is given, but this release does not archive: remove it to keep all records stored."
        )
    return sentences
