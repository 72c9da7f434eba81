"""From what a folder of a batch system tells, to the identity of the job in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from jobmeter.model.job import JobIdentity
from jobmeter.observe.host import Host
from jobmeter.observe.jobs.profile import Naming, Profile

_ENVIRONMENT_MAX_BYTES = 1 << 18
_AD_MAX_BYTES = 1 << 20
_PROCESSES_ASKED = 8
_AD_LINE = re.compile(r'^(ClusterId|ProcId|GlobalJobId)\s*=\s*"?([^"\n]*)"?\s*$', re.MULTILINE | re.ASCII)


class Unnamed(Exception):  # noqa: N818 - the name says the fact
    """The folder is a job's, but nothing tells yet which job it is."""


def identity(profile: Profile, match: re.Match[str], folder: str, host: Host) -> JobIdentity:
    """The job in a folder, from its name and, where that is not enough, from its processes. Raises Unnamed."""
    if profile.naming is Naming.CONDOR_SLOT:
        return _condor(profile, match, folder, host)
    job = match.groupdict().get("job") or (match[1] if match.re.groups and "job" not in match.re.groupindex else None)
    if job is None and profile.naming is Naming.SLURM_UNIQUE:
        return _slurm(profile, folder, host)
    if job is None:
        job = match[0]
    if profile.naming is Naming.POD:
        job = job.replace("_", "-")
    return JobIdentity(profile.manager, profile.cluster, job)


def _slurm(profile: Profile, folder: str, host: Host) -> JobIdentity:
    """Slurm's folder that is named by a unique id: its processes know the job's number."""
    for variables in _environments(folder, host):
        if (job := variables.get(b"SLURM_JOB_ID")) is not None:
            cluster = profile.cluster or variables.get(b"SLURM_CLUSTER_NAME", b"").decode("utf-8", "replace")
            return JobIdentity(profile.manager, cluster, job.decode("utf-8", "replace"))
    raise Unnamed(folder)


def _condor(profile: Profile, match: re.Match[str], folder: str, host: Host) -> JobIdentity:
    """HTCondor's slot: the environment of its processes names the file of the job's ad."""
    for variables in _environments(folder, host):
        slot = variables.get(b"_CONDOR_SLOT", b"").decode("utf-8", "replace")
        file = variables.get(b"_CONDOR_JOB_AD")
        if file is None or (slot and slot.lower() != match["slot"].lower()):
            continue
        try:
            with host.path(os.fsdecode(file)).open("rb") as stream:
                text = stream.read(_AD_MAX_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        if (found := condor_job(text, profile)) is not None:
            return found
    raise Unnamed(folder)


def condor_job(ad: str, profile: Profile) -> JobIdentity | None:
    """The job that a job ad is of: `ClusterId.ProcId` of the schedd that its global id names; None without an id."""
    values = dict(_AD_LINE.findall(ad))
    number, process = values.get("ClusterId", ""), values.get("ProcId", "")
    if not number.isdecimal() or not process.isdecimal():
        return None
    schedd = values.get("GlobalJobId", "").partition("#")[0]
    return JobIdentity(profile.manager, profile.cluster or schedd, f"{number}.{process}")


def _environments(folder: str, host: Host) -> Iterator[dict[bytes, bytes]]:
    """The environments of the first processes in a folder and those below it."""
    asked = 0
    for place, _, _ in os.walk(folder):
        for number in _numbers(f"{place}/cgroup.procs"):
            try:
                with host.path(f"/proc/{number}/environ").open("rb") as stream:
                    raw = stream.read(_ENVIRONMENT_MAX_BYTES)
            except OSError:
                continue
            words = (word.partition(b"=") for word in raw.split(b"\0"))
            yield {name: value for name, equals, value in words if equals}
            asked += 1
            if asked >= _PROCESSES_ASKED:
                return


def _numbers(file: str) -> list[int]:
    try:
        with open(file, "rb") as stream:  # noqa: PTH123 - read often
            return [int(word) for word in stream.read().split() if word.isdigit()]
    except OSError:
        return []
