"""Where a batch system keeps its jobs among the control groups, and how a folder's name tells the job."""

from __future__ import annotations

import re
from enum import Enum

from msgspec import Struct


class Naming(Enum):
    """How a job's id comes from its folder."""

    GROUP = "group"
    """It is the part of the name that the pattern calls `job`."""
    SLURM_UNIQUE = "slurm-unique"
    """As GROUP; a folder that only has Slurm's unique id is asked for SLURM_JOB_ID in a process's environment."""
    CONDOR_SLOT = "condor-slot"
    """The folder is a slot; the job that runs in it says its id in its job ad."""
    POD = "pod"
    """It is the pod's uid, written with _ in place of - by systemd."""


class Level(Struct, frozen=True):
    """One step down: the name of a folder, or a pattern for names. With `found` any part of the name may match."""

    name: str | None
    pattern: re.Pattern[str] | None
    found: bool = False

    def match(self, name: str) -> re.Match[str] | None:
        """What the pattern finds in a name."""
        if self.pattern is None:
            return None
        return self.pattern.search(name) if self.found else self.pattern.fullmatch(name)


class Profile(Struct, frozen=True):
    """A batch system's layout: `ways` are steps down from the root of a tree, the last one to the job's folder.

    `root` is a folder that the steps begin at in place of the roots of all trees.
    """

    manager: str
    ways: tuple[tuple[Level, ...], ...]
    naming: Naming = Naming.GROUP
    root: str | None = None
    cluster: str = ""


_PLAIN = re.compile(r"[\w.@-]+")


def level(text: str) -> Level:
    """A step from its text: a plain name stands for itself, anything else is a pattern for the whole name."""
    if _PLAIN.fullmatch(text):
        return Level(text, None)
    return Level(None, re.compile(text))


def way(*texts: str) -> tuple[Level, ...]:
    """Steps down from their texts."""
    return tuple(level(text) for text in texts)


def built_in(manager: str, cluster: str = "") -> Profile:
    """The layout of a batch system that we know. Raises KeyError for another name.

    Layouts: as seen with OAR 2.5.9 and 2.6.1, Slurm 22.05 and 24.11, HTCondor 23.9 and Kubernetes 1.20, in both
    versions of control groups; unique ids as Slurm 26.05 documents them.
    """
    ways, naming = _LAYOUTS[manager]
    return Profile(manager, tuple(way(*texts) for texts in ways), naming, None, cluster)


def rooted(root: str, patterns: tuple[str, ...], manager: str, cluster: str = "") -> Profile:
    """The jobs in one folder: the first pattern that is found in a name gives the id, by its group `job` or its first.

    Raises re.error for what is no pattern.
    """
    ways = tuple((Level(None, re.compile(pattern), found=True),) for pattern in patterns)
    return Profile(manager, ways, Naming.GROUP, root, cluster)


AUTOMATIC = ("slurm", "oar", "htcondor", "kubernetes")
"""What is looked for when nobody says what to look for. A `jobmeter run` measures its command itself, more closely."""

_SLURM_JOB = r"job_(?P<job>\d+)|(?P<unique>s[0-9A-Z]{13})"
_POD = (
    r"(?:kubepods-?(?:burstable|besteffort)?-)?"
    r"pod(?P<job>[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?"
)
_QOS = r"(?:kubepods-)?(?:burstable|besteffort)(?:\.slice)?"
_SLOT = r"condor_.+_(?P<slot>slot\d+(?:_\d+)?)@.+"

_LAYOUTS: dict[str, tuple[tuple[tuple[str, ...], ...], Naming]] = {
    "slurm": (
        (
            (r"slurm(?:_.+)?", r"uid_\d+", _SLURM_JOB),
            ("system.slice", r"(?:.+_)?slurmstepd\.scope", _SLURM_JOB),
        ),
        Naming.SLURM_UNIQUE,
    ),
    "oar": (
        (
            ("oar", r".+_(?P<job>\d+)"),
            ("oar.slice", r"oar-u\d+\.slice", r"oar-u\d+-j(?P<job>\d+)\.slice"),
        ),
        Naming.GROUP,
    ),
    "htcondor": ((("htcondor", _SLOT), ("system.slice", "htcondor", _SLOT)), Naming.CONDOR_SLOT),
    "kubernetes": (
        (
            ("kubepods", _POD),
            ("kubepods", _QOS, _POD),
            ("kubepods.slice", _POD),
            ("kubepods.slice", _QOS, _POD),
            ("kubelet.slice", r"kubelet-kubepods\.slice", r"(?:kubelet-)?" + _POD),
            ("kubelet.slice", r"kubelet-kubepods\.slice", r"kubelet-kubepods-\w+\.slice", r"(?:kubelet-)?" + _POD),
        ),
        Naming.POD,
    ),
    "systemd": (
        (
            ("system.slice", r"(?P<job>run-.+)\.(?:scope|service)"),
            ("user.slice", r"user-\d+\.slice", r"(?P<job>session-.+)\.scope"),
            ("user.slice", r"user-\d+\.slice", r"user@\d+\.service", r"app\.slice", r"(?P<job>run-.+)\.scope"),
        ),
        Naming.GROUP,
    ),
    "jobmeter": (
        (("jobmeter", r"run-(?P<job>.+)"), ("jobmeter.slice", r"jobmeter-run-(?P<job>.+)\.scope")),
        Naming.GROUP,
    ),
}

KNOWN = tuple(_LAYOUTS)
"""The batch systems whose layouts are built in."""
