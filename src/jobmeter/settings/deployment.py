"""What the daemon around a job source needs to know: the server, the spool, the rhythm and the log.

Job sources are configured by the file of the tool that they supersede, which holds all of this beside the source's own
options. A source's `Settings` gives it as the property `deployment`, so that the daemon knows no source by name.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from jobmeter.settings.fault import WrongValue


class Tls(Struct, frozen=True):
    """Encryption, with AUDITOR's keys. Without `ca_cert_path` the system's authorities are trusted."""

    unknown_keys: ClassVar[str] = "note"

    use_tls: Annotated[bool, Meta(description="Whether the server is spoken to by https.")] = False
    ca_cert_path: Annotated[str | None, Meta(description="Certificate authority that signed the server's.")] = None
    client_cert_path: Annotated[str | None, Meta(description="Our certificate.")] = None
    client_key_path: Annotated[str | None, Meta(description="The key of our certificate.")] = None

    def __post_init__(self) -> None:
        pair = {"client_cert_path": self.client_cert_path, "client_key_path": self.client_key_path}
        if self.use_tls and len(missing := [key for key, file in pair.items() if file is None]) == 1:
            raise WrongValue(missing[0], "is missing, and goes with the other one")


ServerToken = Annotated[
    str | None,
    Meta(description="Bearer token that the server asks for; better in a file.", extra={"secret": True}),
]
ServerTokenFile = Annotated[
    str | None, Meta(description="File with the bearer token that the server asks for, read again for every request.")
]


ServerAddr = Annotated[str, Meta(description="Address of the server.")]
ServerPort = Annotated[int, Meta(ge=1, le=65535, description="Port of the server.")]
ServerTls = Annotated[Tls | None, Meta(description="Encryption and client certificate.")]
Earliest = Annotated[datetime, Meta(tz=True)] | None
LogLevel = Annotated[
    Literal["trace", "debug", "info", "warn", "error"],
    Meta(description="Which events are logged.", extra={"any_case": True}),
]


class Logging(Struct, frozen=True, forbid_unknown_fields=True):
    """A log file, with AUDITOR's keys."""

    log_to_file: Annotated[bool, Meta(description="Whether a file is written beside the standard error.")] = False
    log_dir: Annotated[str, Meta(description="Its folder, which is made.")] = "logs"
    log_file_prefix: Annotated[str, Meta(description="Its name, before `.log`.")] = "slurm_collector_logs"
    log_file_size: Annotated[int, Meta(ge=1, description="A new one is begun at this size, in MiB.")] = 1024
    number_of_rotated_backups: Annotated[int, Meta(ge=0, description="How many old ones are kept.")] = 5

    @property
    def file(self) -> Path:
        """The file itself."""
        return Path(self.log_dir) / f"{self.log_file_prefix}.log"


class SpoolBounds(Struct, frozen=True, forbid_unknown_fields=True):
    """Where what was collected waits for the server, and how much of it may."""

    path: Annotated[str | None, Meta(description="The file; default: the state database's name with `.spool`.")] = None
    max_bytes: Annotated[int, Meta(ge=1, description="How many bytes of encoded records may wait.")] = 2**30
    when_full: Annotated[
        Literal["wait", "drop_oldest"], Meta(description="At the bound: collect no more, or lose the oldest and count.")
    ] = "wait"
    max_age_days: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="Drop and count what waited longer.")
    ] = None
    letters_max: Annotated[int, Meta(ge=1, description="How many dead letters are kept.")] = 100_000
    seen_days: Annotated[float, Meta(gt=0, description="How long a record is remembered, to tell repeats.")] = 45

    def file_beside(self, state_file: Path) -> Path:
        """The spool's file: never the state database itself, which stays as it is."""
        return state_file.with_name(state_file.name + ".spool") if self.path is None else Path(self.path)


class Metrics(Struct, frozen=True, forbid_unknown_fields=True):
    """What the daemon says of itself, in Prometheus' text format. Without a file and a port it says nothing."""

    file: Annotated[
        str | None,
        Meta(description="A file `*.prom` for the textfile collector of node_exporter, written anew every 15 s."),
    ] = None
    addr: Annotated[str, Meta(description="Address to serve /metrics at.")] = "127.0.0.1"
    port: Annotated[Annotated[int, Meta(ge=0, le=65535)] | None, Meta(description="Port to serve /metrics at.")] = None


WaitingRoom = Annotated[SpoolBounds, Meta(description="Where and how much may wait for the server.")]
SelfMetrics = Annotated[Metrics, Meta(description="Where the daemon tells how it is.")]


class Hook(Struct, frozen=True):
    """How a source is run that a batch system calls itself, once for every job that ends.

    Its settings name the variable of the environment that holds the job as the class attribute `hook_variable`.
    `kept_variables` are what must be known of the environment to ask for the job again.
    """

    kept_variables: tuple[str, ...]
    failure_exit_status: int
    deliver_seconds: float
    give_up_seconds: float


class Deployment(Struct, frozen=True, kw_only=True):
    """The road from a job source to the server. `source` names source and cluster in the spool.

    `timeout_seconds` is for an answer of the server; with `once` the daemon reads once and ends. Ids of this source's
    records begin with `prefix` and a hyphen; None where they do not.
    """

    source: str
    addr: str
    port: int
    tls: Tls | None
    token: str | None = None
    token_file: str | None = None
    read_every_seconds: float
    send_every_seconds: float
    spool_file: Path
    spool: SpoolBounds
    log_level: str = "info"
    logging: Logging | None = None
    log_file: Path | None = None
    timeout_seconds: float = 30
    once: bool = False
    hook: Hook | None = None
    metrics: Metrics = Metrics()
    prefix: str | None = None

    @property
    def url(self) -> str:
        """The server's address with its scheme."""
        if self.addr.startswith(("http://", "https://")):
            return f"{self.addr.rstrip('/')}:{self.port}"
        scheme = "https" if self.tls is not None and self.tls.use_tls else "http"
        host = f"[{self.addr}]" if ":" in self.addr else self.addr
        return f"{scheme}://{host}:{self.port}"


def database_file(path: str) -> Path:
    """The file that AUDITOR's `database_path` names: a plain path, `sqlite:PATH` or `sqlite://PATH?options`."""
    if path.startswith("sqlite:"):
        path = path.removeprefix("sqlite:").removeprefix("//").partition("?")[0]
    return Path(path)
