"""What `jobmeter node` is set up with: its jobs, its sources, its rhythm, its ceiling, and where samples go."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from jobmeter.settings.deployment import Metrics
from jobmeter.settings.pattern import pattern
from jobmeter.settings.sending import Sending


class Folder(Struct, frozen=True, forbid_unknown_fields=True):
    """A folder that has a job in each folder below it, for a batch system whose layout is not known here."""

    path: Annotated[str, Meta(description="The folder, such as `/sys/fs/cgroup/cpuset/torque`.")]
    pattern: Annotated[
        str, Meta(description="Found in the name of a job's folder; its group `job`, or its first, is the job's id.")
    ] = r"_(\d+)$"
    manager: Annotated[str, Meta(description="What the batch system is called.", min_length=1)] = "oar"

    def __post_init__(self) -> None:
        pattern("pattern", self.pattern)


class Jobs(Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs are looked for."""

    managers: Annotated[
        tuple[str, ...],
        Meta(
            description="Batch systems whose jobs are looked for, of slurm, oar, htcondor, kubernetes, systemd, "
            "jobmeter; those that a node does not have cost nothing. Left out are sessions (systemd), and the commands "
            "of `jobmeter run` (jobmeter), which are measured already."
        ),
    ] = ("slurm", "oar", "htcondor", "kubernetes")
    cluster: Annotated[str, Meta(description="The name of the cluster, as the accounting has it.")] = ""
    folder: Annotated[tuple[Folder, ...], Meta(description="Further folders with jobs.")] = ()


class NodeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The node agent. A table `[sources.NAME]` holds the settings of a source; `period_seconds` and `enabled` are there
    for every source.
    """

    plugin_tables: ClassVar[dict[str, str]] = {"sources": "observe.kernel"}

    node_name: Annotated[str, Meta(description="What this node is called; the default is its host name.")] = ""
    sample_period_seconds: Annotated[
        float, Meta(description="How often sources are read that have no period of their own.", ge=0.05, le=86400)
    ] = 5.0
    ceiling_percent: Annotated[
        float,
        Meta(
            description="The most processor time it may use, in percent of one core; over it, it reads less often.",
            gt=0,
            le=1000,
        ),
    ] = 2.0
    linger_seconds: Annotated[
        float, Meta(description="How long is tried to send what waits, when the agent ends.", ge=0, le=600)
    ] = 2.0
    sending: Annotated[Sending, Meta(description="Which gatherer the samples are sent to, and how.")] = Sending()
    jobs: Annotated[Jobs, Meta(description="Which jobs are looked for.")] = Jobs()
    sources: Annotated[
        dict[str, dict[str, Any]], Meta(description="The settings of sources, a table for each, by its name.")
    ] = {}
    metrics: Annotated[Metrics, Meta(description="What the agent says of itself.")] = Metrics()
    log_level: Annotated[str, Meta(description="Events to log: trace, debug, info, warn, error or off.")] = "info"
