"""The settings of the server.

One family of Structs reads our TOML and AUDITOR's YAML: the keys are AUDITOR's, ours are added.

Keys that AUDITOR has and this release does not act on are known, so that an AUDITOR file is read without a fault; what
must not be left out silently is told by `not_offered`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from jobmeter.serve.access import AccessSettings
from jobmeter.serve.archive_settings import ArchivalConfig, ArchiveSettings, archive_faults
from jobmeter.serve.joined import JoinSettings
from jobmeter.serve.rbac import RbacConfig, grants_of
from jobmeter.settings.deployment import Logging
from jobmeter.settings.fault import WrongValue
from jobmeter.settings.samples import SampleStoreSettings

DatabaseMetric = Literal["RecordCount", "RecordCountPerSite", "RecordCountPerGroup", "RecordCountPerUser"]
LogLevel = Literal["trace", "debug", "info", "warn", "error", "off"]
Port = Annotated[int, Meta(ge=0, le=65535)]
Names = tuple[str, ...]
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that tells where workers keep what they count together; prometheus_client reads it when imported."""
_LISTED: dict[str, Any] = {"scalar_ok": True}


class Application(Struct, frozen=True):
    """Where the server listens."""

    addr: Annotated[Names, Meta(description="Addresses to listen on, a list or one.", extra=_LISTED)] = ("127.0.0.1",)
    port: Annotated[Port, Meta(description="Port to listen on; 0 takes a free one.")] = 8000
    web_workers: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Worker processes, on PostgreSQL (SQLite has one writer, so one serves all); 1 by default."),
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
    meta_key_site: Annotated[str, Meta(description="Meta key of the site; `site` counts `site_id` as well.")] = "site"
    meta_key_group: Annotated[str, Meta(description="Meta key of the group; `group` counts `group_id` as well.")] = (
        "group"
    )
    meta_key_user: Annotated[str, Meta(description="Meta key of the user; `user` counts `user_id` as well.")] = "user"
    meta_keys: Annotated[
        tuple[str, ...],
        Meta(
            description="Further meta keys to count records by, each with 10,000 values at most. One that is new is "
            "counted in the background first."
        ),
    ] = ()


class Metrics(Struct, frozen=True):
    """What `/metrics` shows beyond the server's own state."""

    database: Annotated[DatabaseMetrics, Meta(description="Counts of stored records.")] = DatabaseMetrics()


class LogFiles(Logging, frozen=True, forbid_unknown_fields=True):
    """A log file, with AUDITOR's keys."""

    log_file_prefix: Annotated[str, Meta(description="Its name, before `.log`.")] = "auditor_logs"


class TlsConfig(Struct, frozen=True):
    """HTTPS, by AUDITOR's keys. Plain HTTP on `application` then answers health checks, and tokens on loopback."""

    use_tls: Annotated[bool, Meta(description="Serve HTTPS.")]
    https_addr: Annotated[
        Names, Meta(description="Addresses of the HTTPS server; those of `application` by default.", extra=_LISTED)
    ] = ()
    https_port: Annotated[Port, Meta(description="Port of the HTTPS server.")] = 8443
    ca_cert_path: Annotated[str | None, Meta(description="Certificates that client certificates are checked with.")] = (
        None
    )
    server_cert_path: Annotated[str | None, Meta(description="The server's certificate.")] = None
    server_key_path: Annotated[str | None, Meta(description="The server's private key.")] = None
    client_certificates: Annotated[
        Literal["required", "optional", "none"],
        Meta(description="Whether clients must show a certificate, may, or are not asked for one."),
    ] = "required"

    def __post_init__(self) -> None:
        wanted = ["server_cert_path", "server_key_path"]
        if self.client_certificates != "none":
            wanted.append("ca_cert_path")
        for key in wanted:
            if self.use_tls and getattr(self, key) is None:
                raise WrongValue(key, "is missing, and use_tls is true")


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


class Relay(Struct, frozen=True, forbid_unknown_fields=True):
    """Where received documents go on to."""

    url: Annotated[str, Meta(description="An endpoint for facility documents, or the address of Elasticsearch.")]
    elasticsearch_index: Annotated[
        str | None, Meta(description="The index, when the url is that of Elasticsearch or OpenSearch.")
    ] = None
    token: Annotated[str | None, Meta(description="The token of the documents there.", extra={"secret": True})] = None
    token_file: Annotated[str | None, Meta(description="File with that token.")] = None
    array: Annotated[int, Meta(ge=1, le=10_000, description="Documents of a request.")] = 500
    ca_file: Annotated[str | None, Meta(description="PEM file of an authority to trust.")] = None


class DocumentSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Facility documents that are received. Who may send them says `jobmeter token` (write-documents)."""

    keep_days: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Documents are dropped after so many days; who used the facility when is kept."),
    ] = 400
    relay: Annotated[Relay | None, Meta(description="Where they are sent on to.")] = None


class ConflictSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Records that were sent with the id of a stored one and other content."""

    meta_key: Annotated[str, Meta(description="Meta key that tells which collector made a record.")] = "collector_type"
    precedence: Annotated[
        Names,
        Meta(
            description="Values under that key, weakest first: of two records with one id the stronger is kept, "
            "the weaker becomes a version or a decided conflict. By default every conflict is to be decided."
        ),
    ] = ()


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
    documents: Annotated[DocumentSettings, Meta(description="Facility documents.")] = DocumentSettings()
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
    conflicts: Annotated[ConflictSettings, Meta(description="Records with the id of another.")] = ConflictSettings()
    access: Annotated[AccessSettings, Meta(description="Who may do what.")] = AccessSettings()
    samples: Annotated[SampleStoreSettings, Meta(description="A store of samples, served beside the records.")] = (
        SampleStoreSettings()
    )
    join: Annotated[JoinSettings, Meta(description="Which record belongs to the samples of a job.")] = JoinSettings()
    tls_config: Annotated[TlsConfig | None, Meta(description="HTTPS and client certificates.")] = None
    rbac_config: Annotated[RbacConfig | None, Meta(description="AUDITOR's access rules.")] = None
    archive: Annotated[ArchiveSettings, Meta(description="Moving old records to Parquet files.")] = ArchiveSettings()
    archival_config: Annotated[ArchivalConfig | None, Meta(description="AUDITOR's archiving to Parquet.")] = None


def tls_of(settings: ServeSettings) -> TlsConfig | None:
    """What is asked for of TLS, None when it is off."""
    tls = settings.tls_config
    return tls if tls is not None and tls.use_tls else None


def rbac_of(settings: ServeSettings) -> RbacConfig | None:
    """AUDITOR's access rules where they are to be kept."""
    rbac = settings.rbac_config
    return rbac if rbac is not None and rbac.enforce_rbac else None


def not_offered(settings: ServeSettings) -> list[str]:
    """What the settings ask for that this release cannot do and must not leave out silently, one sentence each."""
    rbac = rbac_of(settings)
    sentences = [] if rbac is None else [f"rbac_config: {fault}" for fault in grants_of(rbac).faults]
    sentences += archive_faults(settings.archive, settings.archival_config)
    return sentences
