"""The options of the Kubernetes job source: AUDITOR's YAML, and ours beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

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
    WaitingRoom,
)
from jobmeter.settings.fault import WrongValue

EVERYWHERE = "*"
"""In place of a namespace: all of them."""

_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_SOURCES = ("label", "annotation", "value")


class JobFilter(Struct, frozen=True):
    """Which pods are collected."""

    unknown_keys: ClassVar[str] = "note"

    namespace: Annotated[
        tuple[str, ...], Meta(description='Namespaces; ["*"] stands for all, which needs a ClusterRole.')
    ] = ("default",)
    labels: Annotated[
        tuple[str, ...],
        Meta(description="Label conditions as `kubectl -l` takes them, all of which must hold; empty: any pod."),
    ] = ()
    status: Annotated[
        tuple[str, ...], Meta(description="Accepted for AUDITOR's sake; has no effect there and here.")
    ] = ("completed",)

    def __post_init__(self) -> None:
        if not self.namespace:
            raise WrongValue("namespace", 'is empty: no pod would be collected; ["*"] stands for all namespaces')
        if EVERYWHERE in self.namespace and len(self.namespace) > 1:
            raise WrongValue("namespace", f'"{EVERYWHERE}" stands for all namespaces and for itself')
        for number, name in enumerate(self.namespace):
            if name != EVERYWHERE and _NAMESPACE.fullmatch(name) is None:
                raise WrongValue(f"namespace[{number}]", f"{name!r} is not the name of a namespace")
        if len(set(self.namespace)) < len(self.namespace):
            raise WrongValue("namespace", "names one twice")

    @property
    def selector(self) -> str:
        """All label conditions as one."""
        return ",".join(self.labels)


class MetaRule(Struct, frozen=True, forbid_unknown_fields=True):
    """A label, an annotation or a fixed text that becomes a meta value."""

    name: Annotated[str, Meta(description="The meta key.")]
    label: Annotated[str | None, Meta(description="The label whose value is taken.")] = None
    annotation: Annotated[str | None, Meta(description="The annotation whose value is taken.")] = None
    value: Annotated[str | None, Meta(description="The value itself.", examples=["a-site"])] = None
    default_value: Annotated[str | None, Meta(description="Taken where the pod has no such label or annotation.")] = (
        None
    )

    def __post_init__(self) -> None:
        if len([source for source in _SOURCES if getattr(self, source) is not None]) != 1:
            raise WrongValue("name", f"{self.name!r} needs one of label, annotation and value")


class Settings(Struct, frozen=True, kw_only=True):
    """All options of `jobmeter collect kubernetes`. An unknown key at the top is an error."""

    environment_prefix: ClassVar[str] = "JOBMETER_KUBERNETES_"

    auditor_addr: ServerAddr = "127.0.0.1"
    auditor_port: ServerPort = 8000
    auditor_timeout: Annotated[
        int, Meta(ge=1, le=3600, description="How long an answer of the server may take.", extra={"unit": "seconds"})
    ] = 10
    prometheus_addr: Annotated[
        str | None, Meta(description="Address of Prometheus, for what pods used; without it, no usage is recorded.")
    ] = None
    prometheus_port: Annotated[int, Meta(ge=1, le=65535, description="Port of Prometheus.")] = 9090
    prometheus_timeout: Annotated[
        int, Meta(ge=1, le=3600, description="How long an answer of Prometheus may take.", extra={"unit": "seconds"})
    ] = 60
    record_prefix: Annotated[str, Meta(description="First part of every record id.")] = ""
    earliest_datetime: Annotated[
        Earliest,
        Meta(description="Pods that ended from then on are collected at the first start; default: now."),
    ] = None
    collect_interval: Annotated[
        int,
        Meta(ge=1, description="Wait before the API server is asked again after a fault.", extra={"unit": "seconds"}),
    ] = 60
    merge_interval: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Wait before an unreachable Prometheus is asked again; default: 60.", extra={"unit": "seconds"}
        ),
    ] = None
    send_interval: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="What merge_interval was called in older files.", extra={"unit": "seconds"}),
    ] = None
    backlog_interval: Annotated[
        int,
        Meta(ge=1, description="Usage is asked for this long after the end, and again.", extra={"unit": "seconds"}),
    ] = 300
    backlog_maxretries: Annotated[
        int, Meta(ge=0, description="How often more usage is asked for where Prometheus has none.")
    ] = 2
    database_path: Annotated[
        str, Meta(description="Folder of AUDITOR's mqueue.db, which is read once; the spool stands beside it.")
    ] = "."
    job_filter: Annotated[JobFilter, Meta(description="Which pods are collected.")] = JobFilter()
    log_level: LogLevel = "info"
    tls_config: ServerTls = None
    token: ServerToken = None
    token_file: ServerTokenFile = None

    logging: Annotated[Logging | None, Meta(description="Log file.")] = None
    cluster: Annotated[
        str | None, Meta(description="A name for the cluster, where one spool serves several; kept as meta cluster.")
    ] = None
    kubeconfig: Annotated[
        str | None,
        Meta(description="The kubeconfig file; default: $KUBECONFIG, ~/.kube/config, else the pod's service account."),
    ] = None
    context: Annotated[str | None, Meta(description="The kubeconfig's context; default: its current one.")] = None
    meta: Annotated[
        tuple[MetaRule, ...], Meta(description="Labels, annotations and fixed texts that become meta values.")
    ] = ()
    resources: Annotated[
        tuple[str, ...],
        Meta(description="Resources whose requests and limits become components: cpu, memory, nvidia.com/gpu, …"),
    ] = ("cpu", "memory")
    page_size: Annotated[int, Meta(ge=1, le=5000, description="How many pods are listed in one answer.")] = 250
    relist_seconds: Annotated[
        int, Meta(ge=60, description="All pods are listed again this often, whatever the watch told.")
    ] = 21_600
    api_timeout_seconds: Annotated[
        float,
        Meta(ge=0.1, le=3600, description="A connection that is silent for longer is opened again; above a minute."),
    ] = 90
    settle_seconds: Annotated[
        int, Meta(ge=0, description="How long the times of the containers of a pod that ended are waited for.")
    ] = 60
    missed_pods: Annotated[
        bool,
        Meta(
            description="Whether events are asked for pods that began and vanished while nobody listened; needs the "
            "right to list events."
        ),
    ] = True
    usage_patience_seconds: Annotated[
        int, Meta(ge=1, description="A pod is recorded without usage when Prometheus was away for so long.")
    ] = 86_400
    spool: WaitingRoom = SpoolBounds()
    metrics: SelfMetrics = Metrics()

    def __post_init__(self) -> None:
        if len({rule.name for rule in self.meta}) < len(self.meta):
            raise WrongValue("meta", "names one key twice")

    @property
    def state_file(self) -> Path:
        """AUDITOR's own state database, which is read and never written."""
        return Path(self.database_path) / "mqueue.db"

    @property
    def prometheus_url(self) -> str | None:
        """Where Prometheus is, with its scheme, or None."""
        if self.prometheus_addr is None:
            return None
        scheme = "" if self.prometheus_addr.startswith(("http://", "https://")) else "http://"
        return f"{scheme}{self.prometheus_addr}:{self.prometheus_port}"

    @property
    def usage_interval_seconds(self) -> int:
        """How long Prometheus is left alone when it was away."""
        return self.merge_interval or self.send_interval or 60

    @property
    def label_names(self) -> frozenset[str]:
        """The labels that records need."""
        return frozenset(rule.label for rule in self.meta if rule.label is not None)

    @property
    def annotation_names(self) -> frozenset[str]:
        """The annotations that records need."""
        return frozenset(rule.annotation for rule in self.meta if rule.annotation is not None)

    @property
    def source_name(self) -> str:
        """The name of source and cluster in the spool."""
        return "kubernetes" if self.cluster is None else f"kubernetes@{self.cluster}"

    @property
    def deployment(self) -> Deployment:
        """What the daemon around the source needs to know."""
        return Deployment(
            prefix=self.record_prefix or None,
            source=self.source_name,
            addr=self.auditor_addr,
            port=self.auditor_port,
            tls=self.tls_config,
            token=self.token,
            token_file=self.token_file,
            read_every_seconds=self.collect_interval,
            send_every_seconds=1,
            timeout_seconds=self.auditor_timeout,
            spool_file=self.spool.file_beside(self.state_file),
            spool=self.spool,
            metrics=self.metrics,
            log_level=self.log_level,
            logging=self.logging,
        )
