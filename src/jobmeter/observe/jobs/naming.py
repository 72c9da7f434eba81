"""From what a folder of a batch system tells, to the identity of the job in it.

Where the name of the folder is not enough its processes are asked. A user says in them whatever he likes: a file that
one names is opened only if it is a plain file, and who hangs in the kernel is not waited for.
"""

from __future__ import annotations

import os
import re
import select
import stat
from collections.abc import Callable, Iterator

from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.observe.groups.members import within
from jobmeter.observe.host import Host
from jobmeter.observe.jobs.profile import Naming, Profile
from jobmeter.observe.patient import Patient

_ENVIRONMENT_MAX_BYTES = 1 << 18
_AD_MAX_BYTES = 1 << 20
_PROCESSES_ASKED = 8
_ANSWER_SECONDS = 2.0
_AD_LINE = re.compile(r'^(ClusterId|ProcId|GlobalJobId)\s*=\s*"?([^"\n]*)"?\s*$', re.MULTILINE | re.ASCII)
_TITLE = re.compile(rb"slurmstepd: \[(\d+)\.")
_ROOT = re.compile(rb"^Uid:\t0\t0\t", re.MULTILINE)


class Unnamed(Exception):  # noqa: N818 - the name says the fact
    """The folder is a job's, but nothing tells yet which job it is."""


class _Told(Struct, frozen=True):
    """Who a job is. `teller` is the process that said so, open, where it holds only while that process lives."""

    identity: JobIdentity
    teller: int | None = None


class _Known(Struct, frozen=True):
    inode: int
    told: _Told

    def holds(self, inode: int) -> bool:
        """Whether it is still the same folder with the same job in it."""
        if self.inode != inode:
            return False
        return self.told.teller is None or _lives(self.told.teller)


class Namer:
    """Asks once for each folder; for a slot, again when the process is gone that told of its job."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[str, _Known] = {}
        self._patient: Patient[_Told | None] = Patient(_ANSWER_SECONDS)

    def name(self, profile: Profile, path: str, inode: int, match: re.Match[str]) -> JobIdentity:
        """The job in a folder. Raises Unnamed."""
        known = self._known.get(path)
        if known is not None and known.holds(inode):
            return known.told.identity
        self._forget(path)
        if profile.naming is not Naming.CONDOR_SLOT and (job := _job_in(match)) is not None:
            told: _Told | None = _Told(_named(profile, job))
        elif profile.naming is Naming.CONDOR_SLOT:
            told = self._patient.ask(path, lambda: _condor(profile, match, path, self._host))
        else:
            told = self._patient.ask(path, lambda: _slurm(profile, path, self._host))
        if told is None:
            raise Unnamed(path)
        if profile.naming is not Naming.CONDOR_SLOT or told.teller is not None:
            self._known[path] = _Known(inode, told)
        return told.identity

    def keep(self, paths: set[str]) -> None:
        """Forget all other folders."""
        for path in self._known.keys() - paths:
            self._forget(path)

    def _forget(self, path: str) -> None:
        known = self._known.pop(path, None)
        if known is not None and known.told.teller is not None:
            os.close(known.told.teller)


def _job_in(match: re.Match[str]) -> str | None:
    """The job's id as the name of the folder has it; None where it has only another one."""
    if "job" in match.re.groupindex:
        return match["job"]
    return match[1] if match.re.groups else match[0]


def _named(profile: Profile, job: str) -> JobIdentity:
    return JobIdentity(profile.manager, profile.cluster, job.replace("_", "-") if profile.naming is Naming.POD else job)


def _slurm(profile: Profile, folder: str, host: Host) -> _Told | None:
    """Slurm's folder that is named by a unique id: its own daemon says the job's number, or the job's processes do."""
    cluster, job = profile.cluster, None
    for number in _processes(folder):
        variables = _environment(number, host)
        cluster = cluster or variables.get(b"SLURM_CLUSTER_NAME", b"").decode("utf-8", "replace")
        job = job or variables.get(b"SLURM_JOB_ID")
    for number in _processes(folder, "slurm"):
        title = _TITLE.match(_content(host, f"/proc/{number}/cmdline"))
        if title is not None and _ROOT.search(_content(host, f"/proc/{number}/status")) is not None:
            job = title[1]
    return None if job is None else _Told(JobIdentity(profile.manager, cluster, job.decode("utf-8", "replace")))


def _condor(profile: Profile, match: re.Match[str], folder: str, host: Host) -> _Told | None:
    """HTCondor's slot: the environment of its processes names the file of the job's ad."""
    for number in _processes(folder):
        teller = _opened(number, host)
        variables = _environment(number, host)
        slot = variables.get(b"_CONDOR_SLOT", b"").decode("utf-8", "replace")
        file = variables.get(b"_CONDOR_JOB_AD")
        if file is not None and (not slot or slot.lower() == match["slot"].lower()):
            text = _content(host, os.fsdecode(file), _AD_MAX_BYTES).decode("utf-8", "replace")
            if (found := condor_job(text, profile)) is not None and (teller is None or _lives(teller)):
                return _Told(found, teller)
        if teller is not None:
            os.close(teller)
    return None


def condor_job(ad: str, profile: Profile) -> JobIdentity | None:
    """The job that a job ad is of: `ClusterId.ProcId` of the schedd that its global id names; None without an id."""
    values = dict(_AD_LINE.findall(ad))
    number, process = values.get("ClusterId", ""), values.get("ProcId", "")
    if not number.isdecimal() or not process.isdecimal():
        return None
    schedd = values.get("GlobalJobId", "").partition("#")[0]
    return JobIdentity(profile.manager, profile.cluster or schedd, f"{number}.{process}")


def _processes(folder: str, name: str | None = None) -> Iterator[int]:
    """The first processes in a folder and those below it; with a `name`, only in folders that are called so."""
    asked = 0
    for place in within(folder):
        if name is not None and os.path.basename(place) != name:  # noqa: PTH119 - as its neighbours
            continue
        for number in _numbers(f"{place}/cgroup.procs"):
            yield number
            asked += 1
            if asked >= _PROCESSES_ASKED:
                return


def _environment(number: int, host: Host) -> dict[bytes, bytes]:
    raw = _content(host, f"/proc/{number}/environ")
    return {name: value for name, equals, value in (word.partition(b"=") for word in raw.split(b"\0")) if equals}


def _content(host: Host, path: str, most: int = _ENVIRONMENT_MAX_BYTES) -> bytes:
    """The beginning of a plain file; nothing where there is none. A pipe or a device is not opened, only looked at."""
    try:
        place = os.open(host.path(path), os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            return b""
        with open(f"/proc/self/fd/{place}", "rb", buffering=0) as stream:  # noqa: PTH123 - as its neighbours
            return _read(stream.read, most)
    except OSError:
        return b""
    finally:
        os.close(place)


def _read(piece: Callable[[int], bytes | None], most: int) -> bytes:
    """Up to so many bytes: the kernel gives its own files a page at a time."""
    data = b""
    while len(data) < most and (more := piece(most - len(data))):
        data += more
    return data


def _opened(number: int, host: Host) -> int | None:
    """A process, held by a descriptor; None where that cannot be had, as on another machine than this."""
    if str(host.root) != "/":
        return None
    try:
        return os.pidfd_open(number)
    except OSError:
        return None


def _lives(process: int) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return not poll.poll(0)


def _numbers(file: str) -> list[int]:
    try:
        with open(file, "rb") as stream:  # noqa: PTH123 - read often
            return [int(word) for word in stream.read().split() if word.isdigit()]
    except OSError:
        return []
