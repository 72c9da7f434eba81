"""The options of the HTCondor job source: AUDITOR's YAML of both generations, and ours beside it."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import regex
from msgspec import Meta, Struct

from jobmeter.observe.htcondor.job import folded
from jobmeter.settings.deployment import (
    Deployment,
    Metrics,
    SelfMetrics,
    ServerPort,
    ServerTls,
    ServerToken,
    ServerTokenFile,
    SpoolBounds,
    WaitingRoom,
)
from jobmeter.settings.fault import WrongValue

SITE = "site"
"""The meta key of which only the first value is kept."""

Text = Annotated[str, Meta(min_length=1)]
Key = Annotated[str, Meta(min_length=1, description="An attribute of the job, or a ClassAd expression.")]
Matches = Annotated[
    str, Meta(description="A regular expression of Python's, found anywhere in the value; its first group is taken.")
]


def compiled(pattern: str) -> regex.Pattern[str]:
    """A pattern of a settings file, written for Python's `re`. Raises regex.error."""
    return regex.compile(pattern)


def groups_of(pattern: str) -> int:
    """How many groups a pattern has. Raises WrongValue when it is none."""
    try:
        return int(compiled(pattern).groups)
    except regex.error as fault:
        raise WrongValue("matches", f"is not a regular expression: {fault}") from None


class OnlyIf(Struct, frozen=True):
    """A condition on an attribute."""

    unknown_keys: ClassVar[str] = "note"

    key: Key
    matches: Annotated[str, Meta(description="A regular expression that is found anywhere in the value.")]

    def __post_init__(self) -> None:
        groups_of(self.matches)


class Entry(Struct, frozen=True):
    """Where a value comes from: `key`, else `factor`, else `name`."""

    unknown_keys: ClassVar[str] = "note"

    name: Annotated[
        str | None, Meta(description="The value, where there is neither key nor factor or `matches` has no group.")
    ] = None
    key: Annotated[Key | None, Meta(description="The attribute or expression whose value is taken.")] = None
    factor: Annotated[int | float | None, Meta(description="The value, where there is no key.")] = None
    matches: Annotated[Matches | None, Meta(description="What the value must match.")] = None
    only_if: Annotated[OnlyIf | None, Meta(description="There is a value only where this holds.")] = None

    def __post_init__(self) -> None:
        if self.matches is not None:
            groups_of(self.matches)


class Score(Struct, frozen=True):
    """A factor that a component is given where it has a value."""

    unknown_keys: ClassVar[str] = "note"

    name: Annotated[str, Meta(min_length=1, description="Name of the score.")]
    key: Annotated[Key | None, Meta(description="The attribute or expression whose value is taken.")] = None
    factor: Annotated[int | float | None, Meta(description="The value, where there is no key.")] = None
    matches: Annotated[Matches | None, Meta(description="What the value must match.")] = None
    only_if: Annotated[OnlyIf | None, Meta(description="The score is given only where this holds.")] = None

    def __post_init__(self) -> None:
        _check_number(self)


class ComponentRule(Struct, frozen=True):
    """A component: the whole part of a number."""

    unknown_keys: ClassVar[str] = "note"

    name: Annotated[str, Meta(min_length=1, description="Name of the component.")]
    key: Annotated[Key | None, Meta(description="The attribute or expression whose value is taken.")] = None
    factor: Annotated[int | float | None, Meta(description="The amount, where there is no key.")] = None
    matches: Annotated[Matches | None, Meta(description="What the value must match.")] = None
    only_if: Annotated[OnlyIf | None, Meta(description="The job has the component only where this holds.")] = None
    default_value: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="The amount where the job has no value.")
    ] = None
    scores: Annotated[tuple[Score, ...], Meta(description="Factors of the component.")] = ()

    def __post_init__(self) -> None:
        _check_number(self)


Rule = Entry | Score | ComponentRule


class Settings(Struct, frozen=True, kw_only=True):
    """All options of `jobmeter collect htcondor`. A key that is not known has no effect, as in AUDITOR's collector."""

    unknown_keys: ClassVar[str] = "note"
    environment_prefix: ClassVar[str] = "JOBMETER_HTCONDOR_"

    addr: Annotated[str, Meta(description="Address of the server, with or without http:// before it.")] = "127.0.0.1"
    port: ServerPort = 8080
    timeout: Annotated[float, Meta(gt=0, description="Seconds that an answer of the server may take.")] = 30
    tls_config: ServerTls = None
    token: ServerToken = None
    token_file: ServerTokenFile = None
    state_db: Annotated[
        str,
        Meta(description="State of AUDITOR's collector, read once; the spool stands beside it, with `.spool` added."),
    ]
    record_prefix: Annotated[str, Meta(min_length=1, description="First part of every record id.")]
    interval: Annotated[float, Meta(gt=0, description="Seconds between two readings of the history.")] = 900
    pool: Annotated[Text | None, Meta(description="The pool in which the schedds are looked up.")] = None
    schedd_names: Annotated[
        tuple[Text, ...],
        Meta(min_length=1, description="Schedds whose history is read.", extra={"scalar_ok": True}),
    ]
    job_status: Annotated[
        tuple[int, ...] | None,
        Meta(description="Statuses of which jobs are taken, 3 removed, 4 completed; unset: any."),
    ] = None
    constraint: Annotated[
        Text | None, Meta(description="A ClassAd expression; only jobs for which it is true are taken.")
    ] = None
    query_type: Annotated[
        Literal["shell", "exec"],
        Meta(description="With shell, one pair of quotes around `constraint` is taken off. No shell is ever run."),
    ] = "shell"
    history_file: Annotated[
        Text | None, Meta(description="A history file that is read instead of asking the schedds.")
    ] = None
    earliest_datetime: Annotated[
        Annotated[datetime, Meta(tz=False)] | None,
        Meta(description="Jobs that ended from then on are taken (UTC without a zone); default: since 00:00 UTC."),
    ] = None
    meta: Annotated[
        dict[
            Text,
            Annotated[tuple[Entry, ...], Meta(min_length=1, extra={"scalar_ok": True})],
        ],
        Meta(
            description="Meta values by their key: an entry, or a list of entries whose values are all kept; of `site` "
            "only the first.",
            examples=[{"site": [{"name": "SITE"}], "user": [{"key": "Owner"}]}],
        ),
    ]
    components: Annotated[
        tuple[ComponentRule, ...],
        Meta(
            min_length=1,
            description="Components of the record.",
            examples=[[{"name": "Cores", "key": "CpusProvisioned"}]],
        ),
    ]
    one_shot: Annotated[bool, Meta(description="Whether to read once and end.")] = False
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        Meta(description="Which events are logged.", extra={"any_case": True}),
    ] = "INFO"
    log_file: Annotated[Text | None, Meta(description="A file that the log goes to as well; renewed at 10 MiB.")] = None

    condor_history_path: Annotated[
        str, Meta(min_length=1, description="The command: a path, or a name that is looked for in PATH.")
    ] = "condor_history"
    history_format: Annotated[
        Literal["auto", "json", "values"],
        Meta(description="What condor_history is asked for; auto: JSON, or evaluated values where a key needs them."),
    ] = "auto"
    history_timeout_seconds: Annotated[
        float, Meta(gt=0, description="A condor_history that keeps us waiting longer is killed.")
    ] = 600
    batch_records: Annotated[int, Meta(ge=1, le=100_000, description="Jobs that are stored in one transaction.")] = 1000
    since_job: Annotated[
        Annotated[str, Meta(pattern=r"^\d+(\.\d+)?$")] | None,
        Meta(
            description="CLUSTER or CLUSTER.PROC after which the first reading begins, whatever was read before.",
        ),
    ] = None
    spool: WaitingRoom = SpoolBounds()
    metrics: SelfMetrics = Metrics()

    def __post_init__(self) -> None:
        for key, entries in self.meta.items():
            for entry in entries:
                if entry.name is None and entry.key is None and entry.factor is None:
                    raise WrongValue(f"meta.{key}", "an entry has neither key nor factor nor name")
        sites = self.meta.get(SITE)
        if sites is None:
            raise WrongValue("meta", "has no site", "expected: the site that a job belongs to, a list of entries")
        for number, entry in enumerate(sites):
            if not entry.name and entry.matches is not None and not groups_of(entry.matches):
                raise WrongValue(f"meta.{SITE}[{number}]", "has no name, and its `matches` has no group")

    @property
    def expression(self) -> str | None:
        """The constraint as an expression, without the quotes that a shell would have taken off."""
        text = self.constraint
        if text is None or self.query_type == "exec" or len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
            return text
        try:
            words = shlex.split(text)
        except ValueError:
            return text
        return words[0] if len(words) == 1 else text

    @property
    def earliest(self) -> datetime | None:
        """`earliest_datetime` with its zone."""
        moment = self.earliest_datetime
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment

    @property
    def state_file(self) -> Path:
        """AUDITOR's own state database, which is read and never written."""
        return Path(self.state_db)

    @property
    def deployment(self) -> Deployment:
        """What the daemon around the source needs to know."""
        return Deployment(
            prefix=self.record_prefix or None,
            source="htcondor",
            addr=self.addr,
            port=self.port,
            tls=self.tls_config,
            token=self.token,
            token_file=self.token_file,
            timeout_seconds=self.timeout,
            read_every_seconds=self.interval,
            send_every_seconds=1,
            spool_file=self.spool.file_beside(self.state_file),
            spool=self.spool,
            metrics=self.metrics,
            log_level=LOG_LEVELS[self.log_level],
            log_file=None if self.log_file is None else Path(self.log_file),
            once=self.one_shot,
        )


LOG_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error", "CRITICAL": "error"}
"""Our names of the log levels of AUDITOR's collector."""


def keys_of(settings: Settings) -> tuple[str, ...]:
    """The attributes and expressions that the configuration names, each once; case does not tell them apart."""
    found: dict[str, str] = {}
    for rule in rules_of(settings):
        for key in (rule.key, None if rule.only_if is None else rule.only_if.key):
            if key is not None:
                found.setdefault(folded(key), key)
    return tuple(found.values())


def rules_of(settings: Settings) -> tuple[Rule, ...]:
    """Everything that has a value, in the order of the file."""
    rules: list[Rule] = [entry for entries in settings.meta.values() for entry in entries]
    for component in settings.components:
        rules += [component, *component.scores]
    return tuple(rules)


def _check_number(rule: Score | ComponentRule) -> None:
    if rule.key is None and rule.factor is None:
        raise WrongValue("key", "is missing, and so is factor: there is no number")
    if rule.key is None and rule.factor is not None and rule.factor < 0:
        raise WrongValue("factor", "is negative")
    if rule.matches is not None and not groups_of(rule.matches):
        raise WrongValue("matches", "has no group, so that it gives no number", "put the number in parentheses")
