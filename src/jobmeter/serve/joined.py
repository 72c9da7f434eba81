"""Which record belongs to a job, by rules: an identity as the samples have it, an id as the collector makes it."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.joining import JOINED

_FIELDS = frozenset({"manager", "cluster", "job", "run"})


class JoinRule(Struct, frozen=True):
    """The record id of the jobs of one batch system."""

    manager: Annotated[str, Meta(description="Batch system, as samples name it.", examples=["slurm"])]
    record_id: Annotated[
        str,
        Meta(
            description="Its record ids, with {job}, {run}, {cluster} and {manager} where these stand.",
            examples=["slurm-{job}"],
        ),
    ]
    cluster: Annotated[str | None, Meta(description="For this cluster only.")] = None

    def __post_init__(self) -> None:
        try:
            names = {name for _, name, form, _ in string.Formatter().parse(self.record_id) if name is not None or form}
        except ValueError as fault:
            raise ValueError(f"record_id: {fault}") from None
        if unknown := names - _FIELDS:
            raise ValueError(f"record_id: there is no {{{min(map(str, unknown))}}}")
        if "job" not in names:
            raise ValueError("record_id: {job} is missing, so that all jobs would have the same record")


OWN_RULES = (JoinRule("slurm", "slurm-{job}"), JoinRule("oar", "oar-{job}"), JoinRule("jobmeter", "jobmeter-{job}"))
"""What our collectors of these batch systems make when nothing is set."""


class JoinSettings(Struct, frozen=True):
    """How samples and summaries find the records of their jobs."""

    rules: Annotated[
        tuple[JoinRule, ...], Meta(description="Record ids by batch system; by default those of our collectors.")
    ] = OWN_RULES
    components: Annotated[
        tuple[str, ...],
        Meta(
            description="What a job's summary adds to its record, for everyone who reads it: of UsedCPU, PeakMemory, "
            "Energy, IORead, IOWritten, GPUEnergy, PeakGPUMemory; or all. Without any, records stay as they were sent.",
            examples=[["all"]],
        ),
    ] = ()
    wait_days: Annotated[
        float, Meta(description="How long a summary waits for its record, and a record for its summary.", gt=0)
    ] = 40

    def __post_init__(self) -> None:
        known = {metric.name for metric in JOINED}
        if unknown := [name for name in self.components if name != "all" and name not in known]:
            raise ValueError(f"components: there is no {unknown[0]!r}; there is: {', '.join(sorted(known))}, all")

    @property
    def wanted(self) -> frozenset[str]:
        """The names of the components that are added."""
        return frozenset(metric.name for metric in JOINED if "all" in self.components or metric.name in self.components)


def record_ids(job: JobIdentity, rules: tuple[JoinRule, ...]) -> list[str]:
    """The ids that the record of a job may have, by the rules that are about it."""
    return [
        rule.record_id.format(manager=job.manager, cluster=job.cluster, job=job.job, run=job.run)
        for rule in rules
        if rule.manager == job.manager and rule.cluster in (None, job.cluster)
    ]


def jobs_named(record_id: str, rules: tuple[JoinRule, ...]) -> Iterator[dict[str, str]]:
    """The parts of an identity (manager, and job, cluster, run where they stand in it) that a record's id tells.

    The way back of `record_ids`. Where a rule leaves a part open, several jobs may answer.
    """
    for rule in rules:
        told = {"manager": rule.manager} | ({} if rule.cluster is None else {"cluster": rule.cluster})
        if (match := re.fullmatch(_pattern(rule), record_id, re.DOTALL)) is not None:
            said = match.groupdict()
            if all(said.get(name, value) == value for name, value in told.items()):
                yield said | told


def _pattern(rule: JoinRule) -> str:
    """The rule's record id as a regular expression with a group for each part, the same one for a part that repeats."""
    seen: set[str] = set()
    pattern = ""
    for text, name, _, _ in string.Formatter().parse(rule.record_id):
        pattern += re.escape(text)
        if name in seen:
            pattern += f"(?P={name})"
        elif name is not None:
            pattern += f"(?P<{name}>\\d{{1,9}})" if name == "run" else f"(?P<{name}>.+)"
            seen.add(name)
    return pattern
