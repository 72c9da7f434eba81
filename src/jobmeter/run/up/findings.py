"""What there is to measure on this machine: what is used, what is left, and why."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from jobmeter import registry
from jobmeter.contract import SourceAbsent, SourceUnreadable
from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host, OutputTooLarge
from jobmeter.run.agent.sources import DEFAULT, KIND

_SECONDS = 15.0
_OUTPUT_BYTES = 1 << 20
_PASSED_ON = ("PATH", "HOME", "LANG", "KUBECONFIG", "CONDOR_CONFIG", "SLURM_CONF", "OARCONFFILE", "USER")

SOURCES = (*DEFAULT, "ipmi")
"""What the node's own numbers come from."""

MEANING = {
    "cgroup": "control groups of jobs",
    "taskstats": "processor, memory and I/O of jobs, by the kernel's taskstats",
    "commands": "commands of jobs: processor time and memory of each",
    "procstats": "processors, memory and load of the machine",
    "disk": "disks",
    "network": "network interfaces",
    "infiniband": "InfiniBand or Omni-Path",
    "lustre": "Lustre client",
    "nvidia": "NVIDIA GPUs",
    "rapl": "energy of processors and memory (RAPL)",
    "thermal": "temperatures",
    "ipmi": "power of the machine (IPMI)",
}


class Finding(Struct, frozen=True):
    """A batch system, a device or a part of the kernel. `note` is what is used of it, or why it is left."""

    name: str
    meaning: str
    used: bool
    note: str
    absent: bool = False
    """Left because the machine has none of it, and not because something is in the way."""
    command: str = ""
    """The program that tells of it, with its path."""


class Probe(Struct, frozen=True):
    """A batch system, the program that tells of its finished jobs, and a question that it can answer at once."""

    name: str
    meaning: str
    program: str
    question: tuple[str, ...]
    silent: bool = False
    """Whether words on its standard error mean that it did not answer, and begin with the reason: OAR tells a failing
    database nowhere else."""


PROBES = (
    Probe("slurm", "Slurm", "sacct", ("-n", "-X", "-P", "--delimiter=|", "--format", "JobID", "-S", "now-1minutes")),
    Probe("htcondor", "HTCondor", "condor_history", ("-limit", "1", "-af", "ClusterId")),
    Probe("oar", "OAR", "oarstat", (), silent=True),
)

_PLACE = re.compile(r"\s*\bat \S+ line \d+\.?$")
"""What programs in Perl end their words with; the reason stands before it."""
_FOLLOWS = "Use of uninitialized value"
"""What such a program says of the values that it lacks for that reason."""
CONTAINER_KUBE = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def batch_systems(host: Host, which: Callable[[str], str | None], left_out: Sequence[str]) -> list[Finding]:
    """What is known of each batch system; each that is there is asked whether it answers."""
    found = [_answering(probe, host, which(probe.program), left_out) for probe in PROBES]
    return [*found, _kubernetes(host, left_out)]


def _answering(probe: Probe, host: Host, path: str | None, left_out: Sequence[str]) -> Finding:
    if probe.name in left_out:
        return Finding(probe.name, probe.meaning, False, f"left out by --no-{probe.name}")
    if path is None:
        return Finding(probe.name, probe.meaning, False, f"no {probe.program} in PATH", absent=True)
    given = {name: value for name, value in host.environment.items() if name in _PASSED_ON}
    command = [path, *probe.question]
    reason = _first_reason if probe.silent else _last_line
    try:
        told = host.run(command, environment=given, timeout_seconds=_SECONDS, output_max_bytes=_OUTPUT_BYTES).stderr
        if probe.silent and told.strip():
            return Finding(probe.name, probe.meaning, False, f"{path} does not answer: {reason(told)}")
    except CommandFailed as fault:
        return Finding(probe.name, probe.meaning, False, f"{path} does not answer: {reason(fault.stderr)}")
    except (CommandMissing, CommandTimedOut) as fault:
        return Finding(probe.name, probe.meaning, False, f"{path} does not answer: {fault}")
    except OutputTooLarge:
        pass  # it answers, and how
    return Finding(probe.name, probe.meaning, True, f"finished jobs, from {path}", command=path)


def _kubernetes(host: Host, left_out: Sequence[str]) -> Finding:
    name, meaning = "kubernetes", "Kubernetes"
    if name in left_out:
        return Finding(name, meaning, False, "left out by --no-kubernetes")
    config = host.environment.get("KUBECONFIG") or f"{host.environment.get('HOME', '/root')}/.kube/config"
    for file, what in ((config, f"pods that ended, by {config}"), (CONTAINER_KUBE, "pods that ended, as this pod")):
        if host.path(file).is_file():
            if not os.access(host.path(file), os.R_OK):
                return Finding(name, meaning, False, f"{file} cannot be read")
            return Finding(name, meaning, True, what)
    return Finding(name, meaning, False, f"no {config}, and this is no pod", absent=True)


def sources(host: Host, left_out: Sequence[str]) -> list[Finding]:
    """Which sources of the node can be opened here. Each is closed again."""
    return [_source(name, host, left_out) for name in SOURCES]


def _source(name: str, host: Host, left_out: Sequence[str]) -> Finding:
    meaning = MEANING[name]
    if name in left_out:
        return Finding(name, meaning, False, f"left out by --no-{name}")
    plugin = registry.module(KIND, name)
    try:
        source = plugin.open_source(plugin.Settings(), host)
    except SourceAbsent as fault:
        return Finding(name, meaning, False, str(fault), absent=True)
    except (SourceUnreadable, OSError) as fault:
        return Finding(name, meaning, False, f"cannot be read: {fault}")
    source.close()
    return Finding(name, meaning, True, f"{len(source.metrics)} metrics")


def lines(found: Iterable[Finding]) -> list[str]:
    """The findings for a person: used first, then what is in the way of others, and in one line what is not here."""
    found = list(found)
    width = max((len(each.name) for each in found), default=0)
    used = [f"  uses    {each.name:<{width}}  {each.meaning}: {each.note}" for each in found if each.used]
    left = [
        f"  leaves  {each.name:<{width}}  {each.meaning}: {each.note}"
        for each in found
        if not each.used and not each.absent
    ]
    absent = [each.name for each in found if each.absent]
    return [*used, *left, *([f"  not on this machine: {', '.join(absent)}"] if absent else [])]


def rights(effective_user: int) -> str:
    """What being root or not means for what can be seen, in a sentence."""
    if effective_user == 0:
        return "running as root: everything that the kernel tells can be read"
    return (
        "running as an ordinary user: control groups, the machine's own numbers and your own processes can be read; "
        "taskstats, RAPL and IPMI need root (see `jobmeter doctor`)"
    )


def _last_line(text: str) -> str:
    told = [line.strip() for line in text.splitlines() if line.strip()]
    return told[-1][:300] if told else "it gave no reason"


def _first_reason(text: str) -> str:
    told = (_PLACE.sub("", line.strip()) for line in text.splitlines())
    return next((line[:300] for line in told if line and not line.startswith(_FOLLOWS)), "it gave no reason")


def data_folder(path: Path) -> Path:
    """The folder, made where it was missing. Raises OSError."""
    for each in (path, path / "up", path / "logs"):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
